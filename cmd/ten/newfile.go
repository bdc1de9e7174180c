package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
)

// newFile is a file that has its name only when it is whole. Until then it is beside that
// as .NAME.part, which the next one of the name takes if this program is killed.
type newFile struct {
	*os.File
	path string
}

// createFile begins a file for its owner alone.
func createFile(path string) (*newFile, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, cannotWrite(path, errors.New("it is there, and no file"))
	}
	part := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".part")
	for {
		f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, cannotWrite(path, err)
		}
		same, err := own(f, part)
		if err == nil && same {
			err = f.Truncate(0)
		}
		switch {
		case err != nil:
			return nil, errors.Join(cannotWrite(path, err), f.Close())
		case same:
			return &newFile{f, path}, nil
		}
		f.Close() // who has had it is done with it
	}
}

// own makes an open file this program's, unless it has another name by now.
func own(f *os.File, path string) (same bool, err error) {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return false, fmt.Errorf("another `ten` writes %s", path)
	} else if err != nil {
		return false, err
	}
	var opened, named unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &opened); err != nil {
		return false, err
	}
	if err := unix.Lstat(path, &named); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	if opened.Mode&unix.S_IFMT != unix.S_IFREG || opened.Nlink > 1 || int(opened.Uid) != os.Geteuid() {
		return false, fmt.Errorf("%s is somebody else's", path)
	}
	return opened.Ino == named.Ino && opened.Dev == named.Dev, f.Chmod(0o600)
}

// commit gives the file its name, once it is on the disk.
func (f *newFile) commit() error {
	err := f.Sync()
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	if err != nil {
		return cannotWrite(f.path, err)
	}
	err = f.Close()
	dir, derr := os.Open(filepath.Dir(f.path))
	if derr == nil {
		derr = errors.Join(dir.Sync(), dir.Close())
	}
	if err = errors.Join(err, derr); err != nil {
		return cannotWrite(f.path, err)
	}
	return nil
}

// discard removes what was not committed.
func (f *newFile) discard() {
	if f.Fd() == ^uintptr(0) {
		return
	}
	_ = os.Remove(f.Name())
	_ = f.Close()
}

func cannotWrite(path string, err error) error {
	return &tenant.Error{Code: tenant.CodeInvalid, Op: "write", Msg: fmt.Sprintf("cannot write %s: %v", path, err), Hint: "nothing was written under that name", Err: err}
}
