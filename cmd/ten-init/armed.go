package main

import (
	"net"
	"os"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"tenement.dev/internal/ingress"
)

// armedStatus is what `systemctl status` says of an armed instance (sd_notify(3)).
const armedStatus = "armed: sandbox ready, app not started"

// firstCall takes the call that waits at the doorbell already, for which systemd has
// started ten-init; nil where there is none, as with systemctl start, or it has hung up.
func firstCall(doorbell *net.UnixListener) *ingress.Call {
	for rung(doorbell) {
		conn, err := doorbell.AcceptUnix()
		if err != nil {
			return nil
		}
		if call, err := ingress.ReadCall(conn); err == nil {
			return call
		}
	}
	return nil
}

// rung reports whether somebody waits at the doorbell.
func rung(doorbell *net.UnixListener) bool {
	raw, err := doorbell.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	_ = raw.Control(func(fd uintptr) {
		n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	})
	return n > 0
}

// stayArmed waits, ready for everything, until somebody wants the app awake; false where
// the instance is stopped before. arm is the call that has asked for it. For systemd the
// unit is started, so that it gives it all the time it wants.
func (s *supervisor) stayArmed(arm *ingress.Call, doorbell *net.UnixListener, signals <-chan os.Signal) bool {
	s.mu.Lock()
	s.setPhase(armed)
	s.mu.Unlock()
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady+"\nSTATUS="+armedStatus)
	s.answer(arm)
	s.tidy.Reset(tidyDelay)
	s.calls.Go(func() { s.accept(doorbell) })
	for {
		select {
		case <-s.wanted:
			return true
		case sig := <-signals:
			if sig == syscall.SIGTERM || sig == syscall.SIGCONT || sig == syscall.SIGINT { // as supervise
				s.stopping(doorbell)
				_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
				s.linger()
				return false
			}
		}
	}
}
