package main

import (
	"context"
	"os"
	"time"
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

const (
	// deafPause is the least pause between two tries when nothing was heard: not all that
	// can be connected to has come from listen(2) behind the fence. deafShare is the
	// share of the time that has passed.
	deafPause = 20 * time.Millisecond
	deafShare = 4
	// heardInterval is the pause after a call was heard, which takes but microseconds if
	// the app has a processor; after heardTime it was another socket's.
	heardInterval = 100 * time.Microsecond
	heardTime     = 50 * time.Millisecond
)

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

// heardPause is the pause before the next try where so much time has passed since the first
// one, and since something was heard (0: nothing yet).
func heardPause(passed, since time.Duration) time.Duration {
	switch {
	case since == 0 || since > heardTime:
		return max(deafPause, passed/deafShare)
	case since < retryInterval:
		return heardInterval
	default:
		return retryInterval
	}
}

// patience is the wait of somebody who tries to reach a starting app.
type patience struct {
	ear   *ear // or nil
	begun time.Time
	heard time.Time
}

// wait returns when another try is worth it, or ctx has ended.
func (p *patience) wait(ctx context.Context) {
	if p.ear == nil {
		nap(pause(time.Since(p.begun)))
		return
	}
	var since time.Duration
	if !p.heard.IsZero() {
		since = time.Since(p.heard)
	}
	select {
	case <-p.ear.heard:
		p.heard = time.Now()
	case <-time.After(heardPause(time.Since(p.begun), since)):
	case <-ctx.Done():
	}
}
