package lifecycle

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/ingress"
	"tenement.dev/units"
)

// stepFailures says what the exit statuses mean with which systemd itself ends a
// service that it could not execute (systemd.exec(5), "Process Exit Codes").
var stepFailures = map[int32]string{
	200: "CHDIR: its user cannot enter the working directory",
	203: "EXEC: its user cannot execute ten-init",
	217: "USER: its user is not known; is nss-systemd in /etc/nsswitch.conf?",
	219: "CGROUP: its cgroup could not be set up",
	226: "NAMESPACE: its mounts or namespaces could not be set up",
	228: "SECCOMP: its system call filter could not be set up",
}

// outOfMemory reports whether the kernel killed a process of the unit for want of memory,
// whatever became of its main process then.
func outOfMemory(e units.Exit) bool {
	return e.Result == "oom-kill" || e.Code == 1 && e.Status == ingress.ExitMemory
}

// describeExit says how a unit ended, as `systemctl status` does.
func describeExit(e units.Exit) string {
	switch {
	case outOfMemory(e):
		return "out of memory (oom-kill)"
	case e.Code == 1 && stepFailures[e.Status] != "":
		return fmt.Sprintf("status %d/%s", e.Status, stepFailures[e.Status])
	case e.Code == 1 && unix.SignalName(syscall.Signal(e.Status-128)) != "":
		return signal(e.Status - 128) // ten-init ends as a shell would
	case e.Code == 1:
		return fmt.Sprintf("status %d", e.Status)
	case killed(e) && e.Status != 0:
		return signal(e.Status)
	case unseen(e):
		return "it ends each time that it is started"
	default:
		return "result " + e.Result
	}
}

// signal names a signal as people know it: "signal 9 (SIGKILL)".
func signal(n int32) string {
	if name := unix.SignalName(syscall.Signal(n)); name != "" {
		return fmt.Sprintf("signal %d (%s)", n, name)
	}
	return fmt.Sprintf("signal %d", n)
}

// killed reports whether a signal has ended ten-init itself: CLD_KILLED or CLD_DUMPED
// (sigaction(2)).
func killed(e units.Exit) bool { return e.Code == 2 || e.Code == 3 }

// unseen reports whether nothing is known of the end of ten-init: the manager has not seen
// it, or was asked too late, since it is starting the service again.
func unseen(e units.Exit) bool { return e.Code == 0 && (e.Result == "" || e.Result == "success") }
