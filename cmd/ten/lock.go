package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
)

// lockPatience is how long a daemon waits for the lock of one that has been killed: systemd, or
// a shell, may start the next one before the kernel has closed all of its files.
const (
	lockPatience = 3 * time.Second
	lockPoll     = 20 * time.Millisecond
)

// lockSoon is lock that waits for a while where another process has it.
func lockSoon(ctx context.Context, dir, what string) (*os.File, error) {
	late := time.NewTimer(lockPatience)
	defer late.Stop()
	again := time.NewTicker(lockPoll)
	defer again.Stop()
	for {
		f, err := lock(dir, what)
		if tenant.CodeOf(err) != tenant.CodeConflict {
			return f, err
		}
		select {
		case <-again.C:
		case <-late.C:
			return nil, err
		case <-ctx.Done():
			return nil, err
		}
	}
}

// lock makes this daemon the only one that works in dir, until the file is closed or
// the process ends (flock(2)). what says what dir is.
func lock(dir, what string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, cannotUse(dir, what, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, cannotUse(dir, what, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer f.Close()
		owner := make([]byte, 32)
		n, _ := f.Read(owner)
		return nil, &tenant.Error{
			Code: tenant.CodeConflict, Op: "serve",
			Msg:  fmt.Sprintf("another Tenement (process %s) uses the %s %s", owner[:n], what, dir),
			Hint: "stop it first: one daemon serves all services of a machine",
			Err:  err,
		}
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	if err != nil {
		f.Close()
		return nil, cannotUse(dir, what, err)
	}
	return f, nil
}

func cannotUse(dir, what string, err error) error {
	hint := "this user must be able to write there"
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		hint = "make room on its file system: df " + dir
	}
	return &tenant.Error{
		Code: tenant.CodeInternal, Op: "serve",
		Msg:  fmt.Sprintf("the %s %s cannot be used: %v", what, dir, errors.Unwrap(err)),
		Hint: hint,
		Err:  err,
	}
}
