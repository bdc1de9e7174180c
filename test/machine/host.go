package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// hostNeeds maps what the host must have, a program or an absolute path, to the Debian package that brings it.
var hostNeeds = []struct{ what, pkg string }{
	{"mmdebstrap", "mmdebstrap"},
	{"systemd-nspawn", "systemd-container"},
	{"nsenter", "util-linux"},
	{"unshare", "util-linux"},
	{"/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"},
}

// missingNeeds lists what the host lacks and the packages that bring it.
func missingNeeds() (missing, pkgs []string) {
	for _, n := range hostNeeds {
		var err error
		if strings.HasPrefix(n.what, "/") {
			_, err = os.Stat(n.what)
		} else {
			_, err = exec.LookPath(n.what)
		}
		if err != nil {
			missing, pkgs = append(missing, n.what), append(pkgs, n.pkg)
		}
	}
	return missing, pkgs
}

// install installs what the host lacks, with apt.
func install(ctx context.Context) error {
	missing, pkgs := missingNeeds()
	if len(missing) == 0 {
		return nil
	}
	what := strings.Join(missing, ", ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("the test machine needs %s, and there is no apt-get to install it: install it with your package manager", what)
	}
	fmt.Fprintln(os.Stderr, "machine: installing", strings.Join(pkgs, " "))
	env := append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	update := exec.Command("apt-get", "-q", "update")
	update.Env = env
	if err := runQuietly(ctx, "apt-get update", update); err != nil {
		return fmt.Errorf("the test machine needs %s, and apt-get cannot fetch the package lists (is there a network?): %w", what, err)
	}
	cmd := exec.Command("apt-get", append([]string{"-q", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends"}, pkgs...)...)
	cmd.Env = env
	if err := runUninterrupted(cmd); err != nil {
		return fmt.Errorf("the test machine needs %s, and apt-get cannot install it (is there a network?): %w", what, err)
	}
	if missing, _ := missingNeeds(); len(missing) > 0 {
		return fmt.Errorf("the test machine needs %s, and installing %s did not bring it", strings.Join(missing, ", "), strings.Join(pkgs, " "))
	}
	return nil
}

// runQuietly runs a program of the host, called name in errors, until ctx or this process ends. Its output is only seen, and
// only its end, when it fails.
func runQuietly(ctx context.Context, name string, cmd *exec.Cmd) error {
	out := &tail{max: 2000}
	cmd.Stdout, cmd.Stderr = out, out
	ended, err := startBound(cmd)
	if err != nil {
		return err
	}
	select {
	case err = <-ended:
	case <-ctx.Done():
		_ = cmd.Process.Kill() // fails only when it has ended
		<-ended
		return fmt.Errorf("%s: %w", name, ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("%s: %w; its output ends so:\n%s", name, err, out)
	}
	return nil
}

// runUninterrupted is runQuietly for what must run to its end, out of the reach of Ctrl-C: installing packages.
func runUninterrupted(cmd *exec.Cmd) error {
	out, err := os.CreateTemp("", "machine-install-*.log") // a file: this process may end first
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w; its output ends so:\n%s", cmd.Args[0], err, text[max(0, len(text)-2000):])
	}
	return nil
}

// startBound starts cmd in a session of its own, out of the reach of the terminal's Ctrl-C, such that the kernel kills it
// when this process ends, however it ends. ended gets the result of its Wait.
func startBound(cmd *exec.Cmd) (ended <-chan error, err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.WaitDelay = 2 * time.Second
	started, result := make(chan error), make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the *thread* that started the process ends: hold it as long as the process lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			result <- cmd.Wait()
		}
	}()
	return result, <-started
}

// lock takes an exclusive lock on the file at path, waiting for others as long as ctx allows.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the test machine's cache: %w", err)
	}
	locked := make(chan error, 1)
	go func() { locked <- syscall.Flock(int(f.Fd()), syscall.LOCK_EX) }()
	select {
	case err = <-locked:
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		go func() { <-locked; f.Close() }()
		return nil, fmt.Errorf("wait for the process that builds the test machine's root: %w", ctx.Err())
	}
}
