package keeper

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// removeTree removes what an instance has left at path, which may be nothing. That is
// hostile: however deep its directories are nested, no more than maxDepth are open below
// each other, where os.RemoveAll would take up all descriptors of this process and then
// fail. No link is followed. Without root, a directory that its owner may not change is
// made one that he may.
func removeTree(path string) error {
	fd, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err == nil {
		above := os.NewFile(uintptr(fd), filepath.Dir(path))
		defer above.Close()
		r := remover{root: os.Geteuid() == 0}
		err = r.remove(above, filepath.Base(path), 0)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}

// remover is one removeTree at work.
type remover struct {
	top  *os.File // the directory that is removed, while it is open
	root bool
}

// remove removes name in dir, and what is in it.
func (r *remover) remove(dir *os.File, name string, depth int) error {
	err := r.unlink(dir, name)
	if !notEmpty(err) {
		return err
	}
	sub, err := r.open(dir, name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer sub.Close()
	if depth == 0 {
		r.top = sub
	}
	if err := r.empty(sub, depth); err != nil {
		return err
	}
	return r.unlink(dir, name)
}

// empty removes what is in a directory, or moves it up where that is too deep.
func (r *remover) empty(dir *os.File, depth int) error {
	for {
		// From the beginning each time: what is removed may shift the rest, and at the top
		// there may be more than before.
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
		names, err := dir.Readdirnames(walkBatch)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			if depth >= maxDepth && r.moveUp(dir, name) {
				continue
			}
			if err := r.remove(dir, name, depth+1); err != nil {
				return err
			}
		}
	}
}

// moveUp moves a directory that is not empty to the top, where it is met again.
func (r *remover) moveUp(dir *os.File, name string) bool {
	if !notEmpty(r.unlink(dir, name)) {
		return false
	}
	if !r.root { // its entry ".." changes
		_ = unix.Fchmodat(int(dir.Fd()), name, 0o700, 0)
	}
	return unix.Renameat2(int(dir.Fd()), name, int(r.top.Fd()), rand.Text(), unix.RENAME_NOREPLACE) == nil
}

// open opens a directory in dir itself, not what a link leads to.
func (r *remover) open(dir *os.File, name string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(int(dir.Fd()), name, flags, 0)
	if errors.Is(err, unix.EACCES) && !r.root && unix.Fchmodat(int(dir.Fd()), name, 0o700, 0) == nil {
		fd, err = unix.Openat(int(dir.Fd()), name, flags, 0)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// unlink removes name in dir, which may be gone already; the error is notEmpty for a
// directory with something in it.
func (r *remover) unlink(dir *os.File, name string) error {
	for again := false; ; again = true {
		err := unix.Unlinkat(int(dir.Fd()), name, 0)
		if errors.Is(err, unix.EISDIR) {
			err = unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR)
		}
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if again || r.root || !errors.Is(err, unix.EACCES) || dir.Chmod(0o700) != nil {
			return err
		}
	}
}

func notEmpty(err error) bool { return errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) }
