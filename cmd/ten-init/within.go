package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// withinFlag as the first argument makes ten-init the first process within a sandbox, which
// ends with it: it starts a program, collects whoever is left behind, and exits as the
// program does, after a SIGTERM not before everybody has ended. The grace is counted
// outside. Package units has its name.
const withinFlag = "--within"

// runWithin gives the code to exit with.
func runWithin(argv []string) int {
	if len(argv) == 0 {
		fmt.Fprintln(os.Stderr, "ten-init: no program given")
		return exitUsage
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM)
	pid, err := spawn(argv[0], argv, &syscall.SysProcAttr{})
	if err != nil {
		fmt.Fprintln(os.Stderr, "ten-init:", err)
		return exitExec
	}
	a := &app{pid: pid}
	var status syscall.WaitStatus
	over, told := false, false
	for {
		told = <-signals == syscall.SIGTERM || told
		ws, ended, nobody := a.reap()
		if ended {
			status, over = ws, true
			told = told || toldToStop(signals, status)
			_, _, nobody = a.reap() // toldToStop may have taken others' SIGCHLD
			if !told && !nobody && status.Exited() && status.ExitStatus() == 0 {
				fmt.Fprintln(os.Stderr, leftRunning)
			}
		}
		if over && (nobody || !told) {
			return exitCode(status)
		}
	}
}
