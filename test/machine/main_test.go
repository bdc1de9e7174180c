package machine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"tenement.dev/test/machine"
)

// role is the variable that makes this test binary play a part in one of its own tests.
const role = "TENEMENT_MACHINE_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "owner":
		own()
	case "runner":
		os.Exit(run())
	case "vm-owner":
		os.Exit(runVM())
	case "integration":
		os.Exit(machine.Main(m))
	case "vm":
		os.Exit(machine.MainVM(m))
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// own boots a machine, says so, and waits to be killed.
func own() {
	m, err := machine.Boot(context.Background(), machine.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := m.Command(context.Background(), "", nil, "systemd-run", "--quiet", "sleep", "1000").Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	select {}
}

// run boots a machine and runs a program in it that says so and waits to be asked to end.
func run() int {
	ctx, stop := machine.UntilSignal()
	defer stop()
	m, err := machine.Boot(ctx, machine.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code, err := m.Run(ctx, "/", "dev", nil, "sh", "-c", "trap 'echo asked to end; exit 8' TERM; echo up; while :; do sleep 0.05; done")
	if err := errors.Join(err, m.Close()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// integration runs cmd, a copy of this test binary, as an integration package's, and returns its exit status and output.
func integration(t *testing.T, cmd *exec.Cmd) (int, string) {
	t.Helper()
	return play(t, cmd, "integration")
}

// play runs cmd, a copy of this test binary, in a role.
func play(t *testing.T, cmd *exec.Cmd, name string) (int, string) {
	t.Helper()
	cmd.Env = append(cmd.Environ(), role+"="+name)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("run this test binary: %v", err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestInside and TestInsideFails run in a machine, at the orders of TestMainRunsTestsInside.
func TestInside(t *testing.T) {
	if !machine.Inside() {
		return // the test of the tests is TestMainRunsTestsInside
	}
	comm, err := os.ReadFile("/proc/1/comm")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("inside: pid1=%s uid=%d dir=%s path=%s\n", strings.TrimSpace(string(comm)), os.Getuid(), dir, os.Getenv("PATH"))
}

func TestInsideFails(t *testing.T) {
	if machine.Inside() {
		t.Error("meant to fail")
	}
}

func TestMainRunsTestsInside(t *testing.T) {
	t.Parallel()
	profile := t.TempDir() + "/cpu.out"
	code, out := integration(t, exec.CommandContext(t.Context(), executable(t), "-test.v", "-test.run=^TestInside$",
		"-test.testlogfile="+t.TempDir()+"/log", "-test.timeout=1m", "-test.cpuprofile="+profile))
	if code != 0 {
		t.Fatalf("exit status %d, want 0:\n%s", code, out)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	repo, err := machine.Repository(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("inside: pid1=systemd uid=0 dir=%s path=%s/bin:", dir, repo); !strings.Contains(out, want) {
		t.Errorf("output lacks %q:\n%s", want, out)
	}
	if want := "--- PASS: TestInside "; !strings.Contains(out, want) {
		t.Errorf("output lacks %q:\n%s", want, out)
	}
	if info, err := os.Stat(profile); err != nil || info.Size() == 0 {
		t.Errorf("the profile written inside is not on the host: %v", err)
	}
}

func TestMainHandsOnFailure(t *testing.T) {
	t.Parallel()
	code, out := integration(t, exec.CommandContext(t.Context(), executable(t), "-test.run=^TestInsideFails$"))
	if code != 1 || !strings.Contains(out, "meant to fail") {
		t.Errorf("exit status %d, want 1 and the test's message:\n%s", code, out)
	}
}

func TestMainFailsWithoutMachine(t *testing.T) {
	t.Parallel()
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	noNetwork := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	for _, test := range []struct {
		name string
		attr *syscall.SysProcAttr
		env  []string
		want string
	}{
		{"not root", nobody, nil, "machine: the test machine needs root"},
		{"no network, nothing cached", noNetwork, []string{"TENEMENT_TEST_CACHE=" + t.TempDir()}, "machine: build the test machine's root, for which a Debian mirror must be reachable: mmdebstrap: exit status "},
		{"no tools, no apt", nil, []string{"PATH=" + t.TempDir()}, "machine: the test machine needs mmdebstrap, systemd-nspawn, nsenter, unshare, and there is no apt-get"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), copyExecutable(t), "-test.run=^TestInside$")
			cmd.Dir = filepath.Dir(cmd.Path)
			cmd.Env = append(os.Environ(), test.env...)
			cmd.SysProcAttr = test.attr
			if code, out := integration(t, cmd); code != 1 || !strings.Contains(out, test.want) {
				t.Errorf("exit status %d, want 1 and %q:\n%s", code, test.want, out)
			}
		})
	}
}

func executable(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// copyExecutable copies this test binary to where every user can run it.
func copyExecutable(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(executable(t))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "machine-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// A repository of its own, since not everybody may enter the one that this is in.
	if err := os.WriteFile(dir+"/go.mod", []byte("module test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/test", b, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir + "/test"
}
