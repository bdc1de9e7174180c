package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// How long Run lets a program that the terminal has interrupted end by itself, and how long after that it may take to end on
// SIGTERM.
const (
	interruptGrace = 3 * time.Second
	terminateGrace = 5 * time.Second
)

// UntilSignal is a context that ends with the first signal that asks this process to end; the second one then ends the
// process at once, and with it its machines. stop gives the signals back.
func UntilSignal() (ctx context.Context, stop context.CancelFunc) {
	ctx, stop = signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// Run runs a program in the machine on this process' standard input and output, as Command would, and returns its exit
// status, 128 and the signal's number where one killed it. When ctx ends the program is asked to end, and killed when it does not; where this process is in the foreground of
// a terminal, Ctrl-C has reached the program already.
func (m *Machine) Run(ctx context.Context, dir, user string, env []string, argv ...string) (code int, err error) {
	cmd, group := m.command(ctx, dir, user, env, argv)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error {
		wait := time.Duration(0)
		if inForeground() {
			wait = interruptGrace
		}
		time.AfterFunc(wait, func() { terminateGroup(group) }) // of an empty group when it has ended by then
		return nil
	}
	cmd.WaitDelay = interruptGrace + terminateGrace
	err = cmd.Run()
	if ctx.Err() != nil {
		_ = killGroup(group) // what is left of it; Close will tell if that does not work
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode(), nil
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return 0, nil
	}
	err = fmt.Errorf("run %s in the test machine: %w", argv[0], err)
	if exit != nil {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), err // as a shell says it
		}
	}
	return 1, err
}

// terminateGroup sends SIGTERM to the program in a command's cgroup and what it started, but not to the nsenter that brought
// it there: that waits for the program's exit status.
func terminateGroup(group string) {
	mine := len(namespacePids(os.Getpid()))
	for _, pid := range groupPids(group) {
		if len(namespacePids(pid)) > mine {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
}

// inForeground reports whether a signal typed at the terminal reaches this process' whole group: fields 5 and 8 of
// /proc/PID/stat (proc_pid_stat(5)).
func inForeground() bool {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return false
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])) // f[0] is field 3
	return len(f) > 5 && f[2] == f[5]
}
