package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// sandboxState is where runsc keeps what it must know of its sandbox. In the unit's own
// /var/tmp nothing is left of an earlier run, and the bundle shows the app another one.
const sandboxState = "/var/tmp/runsc"

// sandboxName is what runsc knows the app by; there is no other in the unit.
const sandboxName = "app"

// sandbox is gVisor around the app: its runtime runsc, as a child of ten-init's, builds
// it and exits as the app does. Everything that it starts stays in the app's cgroup.
type sandbox struct {
	runsc, bundle string
	sockets       bool // the app makes a Unix socket that ten-init connects to
}

// sandboxCredentials is where the bundle has the app's credentials from, if it has any
// (package units).
const sandboxCredentials = "/var/tmp/credentials"

// prepare makes the directory for runsc's state, and the files of credentials.
func (s *sandbox) prepare() error {
	err := os.Mkdir(sandboxState, 0o700)
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" && (err == nil || errors.Is(err, fs.ErrExist)) {
		err = os.CopyFS(sandboxCredentials, os.DirFS(dir))
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("prepare sandbox: %w", err)
	}
	return nil
}

// command is a command line of runsc. It needs no more rights than ten-init has, leaves
// the unit's cgroup alone, and uses its network: one of its own, with a loopback that
// ten-init shares (gVisor's user guide, "Rootless", "Networking").
func (s *sandbox) command(args ...string) []string {
	argv := []string{
		s.runsc, "--root=" + sandboxState, "--rootless", "--ignore-cgroups", "--network=host", "--platform=systrap", "--overlay2=none",
	}
	if s.sockets {
		argv = append(argv, "--host-uds=create")
	}
	return append(argv, args...)
}

// run is the command line that runs the app.
func (s *sandbox) run() []string { return s.command("run", "--bundle="+s.bundle, sandboxName) }

// terminate is the one that sends SIGTERM to every process of the app.
func (s *sandbox) terminate() []string { return s.command("kill", "--all", sandboxName, "TERM") }

// rootWithin makes a process the root of a user namespace in which this user is the only
// one, as runsc wants it. It would do so by itself, and stay beside its copy.
func rootWithin() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}
