package machine_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"tenement.dev/test/machine"
)

func TestMachineEndsWithItsOwner(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			owner, _ := startRole(t, "owner", "ready\n")
			id := machineOf(t, owner.Process.Pid)
			if err := owner.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = owner.Wait() // killed
			awaitNoTraces(t, id)
		})
	}
}

func TestRunHandsOnTheEnd(t *testing.T) {
	t.Parallel()
	runner, said := startRole(t, "runner", "up\n")
	id := machineOf(t, runner.Process.Pid)
	if err := runner.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(said)
	if err != nil || string(rest) != "asked to end\n" {
		t.Errorf("got %q, %v, want the program in the machine to be asked to end", rest, err)
	}
	var exit *exec.ExitError
	if err := runner.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 8 {
		t.Errorf("got %v, want the program's exit status 8", err)
	}
	for _, trace := range traces(t, id) {
		t.Errorf("left: %s", trace)
	}
}

// TestBootSweeps takes the watchdog away as well, so that the cgroup stays, for the next boot to remove.
func TestBootSweeps(t *testing.T) {
	t.Parallel()
	owner, _ := startRole(t, "owner", "ready\n")
	id := machineOf(t, owner.Process.Pid)
	killed := 0
	for _, pid := range children(t, owner.Process.Pid) {
		if cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.Contains(string(cmdline), "machine-watchdog") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			killed++
		}
	}
	if killed != 1 {
		t.Fatalf("killed %d watchdogs, want 1", killed)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait()
	boot(t, machine.Options{})
	awaitNoTraces(t, id)
}

// startRole starts this test binary in a role, in a session of its own, and returns when it has said what shows that its
// machine is up.
func startRole(t *testing.T, name, says string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(executable(t))
	cmd.Env = append(os.Environ(), role+"="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	said := bufio.NewReader(out)
	if line, err := said.ReadString('\n'); line != says {
		t.Fatalf("the %s says %q, %v", name, line, err)
	}
	return cmd, said
}
