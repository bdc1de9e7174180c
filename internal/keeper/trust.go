package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
)

// maxLinks is how many symbolic links a path may have, as for the kernel
// (path_resolution(7)).
const maxLinks = 40

// checkTrusted reports why somebody other than root could change what is at an absolute
// path: the file, a directory on the way to it, or where a link on that way leads. Who can
// write to a directory can put another file into it, so all of them have to be root's, and
// writable for no group but root's. Where the directory has the sticky bit others could
// still have been there first. With an access control list the mode's group bits are its
// mask (acl(5)), so that no right to write can hide in one.
//
// What has been found to be trusted stays so: only root could change it.
func checkTrusted(path string) error {
	links := 0
	todo := strings.Split(filepath.Clean(path), "/")[1:]
	at := "/"
	if err := checkRoots(at); err != nil {
		return err
	}
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		if err != nil {
			return err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			if err := checkRoots(next); err != nil {
				return err
			}
			at = next
			continue
		}
		if links++; links > maxLinks {
			return &fs.PathError{Op: "follow", Path: path, Err: syscall.ELOOP}
		}
		target, err := os.Readlink(next)
		if err != nil {
			return err
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return nil
}

// errUntrusted is in the chain of an error about a path that others than root can write.
var errUntrusted = errors.New("others than root can write it")

// checkRoots looks at one path, which is no link.
func checkRoots(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return checkStat(path, &st)
}

func checkStat(path string, st *unix.Stat_t) error {
	switch {
	case st.Uid != 0:
		return fmt.Errorf("%s belongs to uid %d: %w", path, st.Uid, errUntrusted)
	case st.Mode&unix.S_IWOTH != 0, st.Mode&unix.S_IWGRP != 0 && st.Gid != 0:
		return fmt.Errorf("%s has mode %04o and group %d: %w", path, st.Mode&0o7777, st.Gid, errUntrusted)
	}
	return nil
}

// untrusted is the error for people about a path that the keeper does not go by.
func untrusted(op string, id tenant.ID, what, path string, err error) error {
	e := &tenant.Error{
		Code: tenant.CodeInvalid, Op: op, ID: id, Err: err,
		Msg:  fmt.Sprintf("%s %s is not for root alone to change: %v", what, path, err),
		Hint: "chown it to root and take the right to write from everybody else (chmod go-w), and so with the directories above it",
	}
	if !errors.Is(err, errUntrusted) {
		e.Msg = fmt.Sprintf("%s %s cannot be looked at: %v", what, path, err)
		e.Hint = "see that it is there; the directories above it as well"
	}
	return e
}

// maxConfig is the most bytes that a configuration may have.
const maxConfig = 4 << 20

// readTrusted reads a file that root alone can have written.
func readTrusted(path string) ([]byte, error) {
	if err := checkTrusted(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if err := checkStat(path, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > maxConfig {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", path, maxConfig)
	}
	return readAtMost(f, maxConfig)
}
