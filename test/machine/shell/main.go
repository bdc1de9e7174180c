// Shell boots a throwaway test machine and gives a shell in it, or runs one command there:
//
//	go run ./test/machine/shell
//	go run ./test/machine/shell -user dev
//	go run ./test/machine/shell -- systemctl status
//
// The repository is visible, read-only, at its own path, and its bin directory comes first in PATH. The machine ends with the
// shell. The exit status is the shell's or the command's; 125 when there is no machine to run it in.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tenement.dev/test/machine"
)

// exitNoMachine is what docker and podman use for "the container could not be run".
const exitNoMachine = 125

func main() {
	user := flag.String("user", "root", "run as this user of the machine: root or dev")
	verbose := flag.Bool("v", false, "show the machine's console")
	flag.Parse()
	code, err := run(*user, *verbose, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "shell:", err)
	}
	os.Exit(code)
}

func run(user string, verbose bool, argv []string) (code int, err error) {
	ctx, stop := machine.UntilSignal()
	defer stop()
	dir, err := os.Getwd()
	if err != nil {
		return exitNoMachine, err
	}
	repo, err := machine.Repository(dir)
	if err != nil {
		return exitNoMachine, err
	}
	o := machine.Options{Binds: []machine.Bind{{Host: repo}}}
	if verbose {
		o.Log = os.Stderr
	}
	m, err := machine.Boot(ctx, o)
	if err != nil {
		return exitNoMachine, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()

	switch {
	case len(argv) == 0 && onTerminal(os.Stdin):
		// script gives the shell a terminal of the machine's own, so that job control works.
		argv = []string{"script", "--quiet", "--return", "--command", "bash -i", "/dev/null"}
	case len(argv) == 0:
		argv = []string{"bash"}
	}
	env := []string{"TERM=" + os.Getenv("TERM"), "PATH=" + filepath.Join(repo, "bin") + ":" + machine.Path}
	return m.Run(ctx, dir, user, env, argv...)
}

// onTerminal reports whether f is a terminal.
func onTerminal(f *os.File) bool {
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	return err == nil && (strings.HasPrefix(name, "/dev/pts/") || strings.HasPrefix(name, "/dev/tty"))
}
