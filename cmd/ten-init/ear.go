package main

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An ear hears when the app calls listen(2): then is the time to try and reach it, and
// none before. Trying all the time costs as much as a third of an app's start where many
// start at once.
//
// The kernel asks here before it lets a process behind the fence do it (seccomp(2),
// SECCOMP_RET_USER_NOTIF; seccomp_unotify(2)), and the answer is always yes: what is heard
// is a hint and nothing depends on it. So the ear must listen for as long as there is such
// a process.
type ear struct {
	file  *os.File
	heard chan struct{} // has one when there was a call since it was last looked at
	done  chan struct{} // closed when nobody is left to be heard
}

// newEar begins to listen at the descriptor that belongs to a filter; it ends with the
// last process behind that.
func newEar(fd int) (*ear, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	e := &ear{file: os.NewFile(uintptr(fd), "seccomp"), heard: make(chan struct{}, 1), done: make(chan struct{})}
	conn, err := e.file.SyscallConn()
	if err != nil {
		e.file.Close()
		return nil, err
	}
	go func() {
		defer close(e.done)
		defer e.file.Close()
		_ = conn.Read(e.hear)
	}()
	return e, nil
}

// notification and notificationAnswer are struct seccomp_notif and seccomp_notif_resp.
type notification struct {
	id         uint64
	pid, flags uint32
	data       [64]byte
}

type notificationAnswer struct {
	id    uint64
	value int64
	err   int32
	flags uint32
}

// hear answers all who ask now; true when nobody will any more.
func (e *ear) hear(fd uintptr) bool {
	for {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, 0); err == unix.EINTR {
			continue
		}
		switch {
		case poll[0].Revents&unix.POLLIN != 0:
		case poll[0].Revents != 0: // POLLHUP
			return true
		default:
			return false
		}
		var n notification
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); errno != 0 {
			continue // who asked has been killed meanwhile
		}
		answer := notificationAnswer{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&answer)))
		select {
		case e.heard <- struct{}{}:
		default:
		}
	}
}
