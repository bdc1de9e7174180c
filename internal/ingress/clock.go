package ingress

import "golang.org/x/sys/unix"

// Monotonic is CLOCK_MONOTONIC in nanoseconds, comparable between processes of one
// machine.
func Monotonic() int64 {
	var ts unix.Timespec
	// The clock exists on every Linux and ts is valid: this cannot fail.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}
