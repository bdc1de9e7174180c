package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// shimFlag as the first argument makes ten-init a shim around execve(2): it sets
// $LISTEN_PID to its own pid, which only the new process can know, and becomes the
// program (sd_listen_fds(3)). ten-init starts apps with listen = "fd" through it.
const shimFlag = "--exec-with-listen-fds"

// execShim never returns.
func execShim(argv []string) {
	if len(argv) == 0 {
		fmt.Fprintln(os.Stderr, "ten-init: no program given")
		os.Exit(exitUsage)
	}
	env := append(os.Environ(), "LISTEN_PID="+strconv.Itoa(os.Getpid()), "LISTEN_FDS=1", "LISTEN_FDNAMES=app")
	err := syscall.Exec(argv[0], argv, env)
	fmt.Fprintf(os.Stderr, "ten-init: execute %s: %v\n", argv[0], err)
	os.Exit(exitExec)
}
