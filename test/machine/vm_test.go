package machine_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenement.dev/test/machine"
)

// runVM boots a virtual machine for a program that says so and stays.
func runVM() int {
	ctx, stop := machine.UntilSignal()
	defer stop()
	code, err := machine.RunVM(ctx, machine.Options{}, "/", nil, "sh", "-c", "echo up; exec sleep 1000")
	fmt.Fprintln(os.Stderr, err)
	return code
}

func TestVMRunsTestsInside(t *testing.T) {
	t.Parallel()
	log := t.TempDir()
	cmd := exec.CommandContext(t.Context(), executable(t), "-test.v", "-test.run=^TestInside$|^TestInsideFails$|^TestVMHas$", "-test.timeout=1m", "-test.cpuprofile="+log+"/cpu.out")
	code, out := play(t, cmd, "vm")
	if code != 1 {
		t.Fatalf("exit status %d, want the 1 of a failed test:\n%s", code, out)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	repo, err := machine.Repository(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("inside: pid1=systemd uid=0 dir=%s path=%s/bin:", dir, repo),
		"--- PASS: TestInside ", "meant to fail", "--- FAIL: TestInsideFails ",
		"has: controllers=cpu io memory pids swap=true quota=true writable=false\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	if info, err := os.Stat(log + "/cpu.out"); err != nil || info.Size() == 0 {
		t.Errorf("the profile written inside is not on the host: %v", err)
	}
}

// A kernel's panic ends the run, and is told.
func TestVMPanics(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	_, err := machine.RunVM(ctx, machine.Options{}, "/", nil, "sh", "-c", "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; exec sleep 1000")
	if err == nil || !strings.Contains(err.Error(), "Kernel panic") {
		t.Errorf("got %v, want it to tell of the panic", err)
	}
}

// TestVMHas runs in a virtual machine, at the orders of TestVMRunsTestsInside.
func TestVMHas(t *testing.T) {
	if os.Getenv(role) != "vm" {
		return
	}
	controllers, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	if err != nil {
		t.Fatal(err)
	}
	swaps, err := os.ReadFile("/proc/swaps")
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("has: controllers=%s swap=%v quota=%v writable=%v\n", strings.TrimSpace(string(controllers)),
		strings.Contains(string(swaps), "/dev/ubdb"), strings.Contains(string(mounts), "/srv ext4 rw,relatime,prjquota"),
		os.WriteFile("x", nil, 0o600) == nil)
}

func TestVMEndsWithItsOwner(t *testing.T) {
	t.Parallel()
	owner, _ := startRole(t, "vm-owner", "up\n")
	namespaces := map[string]bool{}
	for _, pid := range children(t, owner.Process.Pid) {
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid)); err == nil {
			namespaces[ns] = true
		}
	}
	if mine, _ := os.Readlink("/proc/self/ns/pid"); len(namespaces) != 1 || namespaces[mine] {
		t.Fatalf("the machine's pid namespace is not found: %v", namespaces)
	}
	if len(inNamespaces(t, namespaces)) < 5 { // otherwise the search for leftovers proves nothing
		t.Fatal("of a running machine hardly a process is found")
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // killed
	deadline := time.Now().Add(10 * time.Second)
	for left := inNamespaces(t, namespaces); len(left) > 0; left = inNamespaces(t, namespaces) {
		if time.Now().After(deadline) {
			t.Fatalf("still there: %q", left)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// inNamespaces lists the processes in pid namespaces.
func inNamespaces(t *testing.T, namespaces map[string]bool) []string {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, proc := range procs {
		if ns, err := os.Readlink(proc + "/ns/pid"); err == nil && namespaces[ns] {
			found = append(found, proc)
		}
	}
	return found
}
