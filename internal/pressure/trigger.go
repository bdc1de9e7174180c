package pressure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// triggers are what is asked of the kernel, the first that it grants: some work held up
// for so many microseconds within so many. Who has not CAP_SYS_RESOURCE gets windows of
// a multiple of two seconds (Linux 6.5 and later, psi_trigger_create).
var triggers = []string{"some 150000 1000000", "some 300000 2000000"}

// triggerShare is the percentage that the triggers stand for.
const triggerShare = 15.0

// arm opens a pressure file and sets a trigger, which lasts until the descriptor is
// closed. It is no os.File: the runtime's poller would take its events away.
func arm(path string) (fd int, err error) {
	for _, trigger := range triggers {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, fmt.Errorf("open %s: %w", path, err)
		}
		if _, err = unix.Write(fd, append([]byte(trigger), 0)); err == nil {
			return fd, nil
		}
		unix.Close(fd)
		if !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.EPERM) {
			return -1, fmt.Errorf("set trigger on %s: %w", path, err)
		}
	}
	return -1, fmt.Errorf("set trigger on %s: %w", path, syscall.EINVAL)
}

// watch calls fired each time that the pressure in a file crosses the trigger, until
// ctx ends or the file's cgroup is gone: then the error is nil.
func watch(ctx context.Context, path string, fired func()) error {
	fd, err := arm(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	done, end, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	defer done.Close()
	stop := context.AfterFunc(ctx, func() { end.Close() })
	defer func() {
		if stop() {
			end.Close()
		}
	}()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}, {Fd: int32(done.Fd())}}
	for ctx.Err() == nil {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("watch %s: %w", path, err)
		case fds[1].Revents != 0:
			return nil
		case fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0:
			return nil
		case fds[0].Revents&unix.POLLPRI != 0:
			fired()
		}
	}
	return nil
}

// Check says what of all this the machine has; ok where it is enough to act in time.
func Check() (ok bool, detail string) {
	fd, err := arm("/proc/pressure/memory")
	if err != nil {
		return false, "the kernel does not tell of memory pressure: " + err.Error()
	}
	unix.Close(fd)
	return true, "the kernel tells when memory is short (PSI)"
}
