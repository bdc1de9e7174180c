// Command shell boots a throwaway test machine and gives a shell in it, or runs one command there:
//
//	go run ./test/machine/shell
//	go run ./test/machine/shell -user dev
//	go run ./test/machine/shell -- systemctl status
//	go run ./test/machine/shell -vm -- free -m
//
// The repository is visible, read-only, at its own path, and its bin directory comes first in PATH. The machine ends with the
// shell. The exit status is the shell's or the command's; 125 when there is no machine to run it in.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"tenement.dev/test/machine"
)

// exitNoMachine is what docker and podman use for "the container could not be run".
const exitNoMachine = 125

func main() {
	user := flag.String("user", "root", "run as this user of the machine: root or dev")
	vm := flag.Bool("vm", false, "in a virtual machine: with cgroup controllers and swap, as root")
	verbose := flag.Bool("v", false, "show the machine's console")
	flag.Parse()
	code, err := run(*vm, *user, *verbose, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "shell:", err)
	}
	os.Exit(code)
}

func run(vm bool, user string, verbose bool, argv []string) (code int, err error) {
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
	env := []string{"TERM=" + os.Getenv("TERM"), "PATH=" + filepath.Join(repo, "bin") + ":" + machine.Path}
	if vm {
		return runVM(ctx, o, dir, env, argv)
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
	return m.Run(ctx, dir, user, env, argv...)
}

// runVM runs argv or a shell in a virtual machine. The end of this process' input does not reach it: leave a shell with exit.
func runVM(ctx context.Context, o machine.Options, dir string, env, argv []string) (code int, err error) {
	if len(argv) > 0 {
		return machine.RunVM(ctx, o, dir, env, argv...)
	}
	o.Input = os.Stdin
	if !onTerminal(os.Stdin) {
		return machine.RunVM(ctx, o, dir, env, "bash")
	}
	// Keys go to the machine's terminal as they are typed; it echoes them and makes signals of some.
	restore, err := rawTerminal(os.Stdin)
	if err != nil {
		return exitNoMachine, err
	}
	defer func() { err = errors.Join(err, restore()) }()
	return machine.RunVM(ctx, o, dir, env, "script", "--quiet", "--return", "--command", "bash -i", "/dev/null")
}

// rawTerminal makes a terminal hand on every key as it is; restore undoes that.
func rawTerminal(f *os.File) (restore func() error, err error) {
	fd := int(f.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read the terminal's settings: %w", err)
	}
	raw := *was
	raw.Iflag &^= unix.BRKINT | unix.ICRNL | unix.INPCK | unix.ISTRIP | unix.IXON
	raw.Lflag &^= unix.ECHO | unix.ICANON | unix.IEXTEN | unix.ISIG
	raw.Oflag &^= unix.OPOST
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("set the terminal: %w", err)
	}
	return func() error { return unix.IoctlSetTermios(fd, unix.TCSETS, was) }, nil
}

// onTerminal reports whether f is a terminal.
func onTerminal(f *os.File) bool {
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	return err == nil && (strings.HasPrefix(name, "/dev/pts/") || strings.HasPrefix(name, "/dev/tty"))
}
