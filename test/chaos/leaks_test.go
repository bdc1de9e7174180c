package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/keeper"
	"tenement.dev/test/harness"
)

// Bounds for a daemon that has nothing to do: what it opened and started for tenants that
// are gone must be gone too. It has its listeners, the bus, the registry and the runtime's
// own, and room for half as many more.
const (
	maxFDs        = 32
	maxGoroutines = 64
)

// mounts counts what is mounted where this process sees it.
func mounts(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}

// checkNothingLeft looks for what destroyed tenants have left behind.
func (w *world) checkNothingLeft(t *testing.T, mountsBefore int) {
	t.Helper()
	for what, find := range map[string]func() []string{
		"units": func() []string {
			return strings.Fields(w.s.Systemctl("list-units", "--all", "--plain", "--no-legend", "tenement-*@*"))
		},
		"jobs": func() []string {
			if out := w.s.Systemctl("list-jobs", "--plain", "--no-legend"); !strings.Contains(out, "No jobs") {
				return strings.Fields(out)
			}
			return nil
		},
		"processes": w.processes,
		"cgroups": func() []string {
			found, _ := filepath.Glob("/sys/fs/cgroup/tenement.slice/*@*")
			return found
		},
		"files": func() []string {
			var found []string
			for _, pattern := range []string{"/run/userdb/*", "/run/tenement/ingress/*", "/run/tenement/app/*", "/run/systemd/transient/tenement-*@*", filepath.Join(w.s.Dir, "data/[a-z0-9]*/*"), "/tmp/systemd-private-*-tenement-*@*", "/var/tmp/systemd-private-*-tenement-*@*"} {
				files, _ := filepath.Glob(pattern)
				found = append(found, files...)
			}
			return found
		},
		"ports": w.listeners,
		"mounts": func() []string {
			if n := mounts(t); n > mountsBefore {
				return []string{fmt.Sprintf("%d instead of %d", n, mountsBefore)}
			}
			return nil
		},
		"streams of the API": w.streams,
		"descriptors of the daemon": func() []string {
			list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", w.s.PID()))
			if len(list) <= maxFDs {
				return nil
			}
			for i, path := range list {
				list[i], _ = os.Readlink(path)
			}
			return list
		},
	} {
		deadline := time.Now().Add(harness.Timeout)
		for left := find(); len(left) > 0; left = find() {
			if time.Now().After(deadline) {
				t.Errorf("%s left: %s", what, strings.Join(left, " "))
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	w.checkAccounts(t)
	w.checkGoroutines(t)
}

// processes are those of tenants' users and those in tenants' cgroups.
func (w *world) processes() (found []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		status, _ := os.ReadFile(filepath.Join(dir, "status"))
		cgroup, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
		_, after, _ := strings.Cut(string(status), "\nUid:")
		fields := strings.Fields(after)
		if len(fields) == 0 {
			continue
		}
		uid, _ := strconv.Atoi(fields[0])
		if uid >= keeper.FirstUID && uid <= keeper.LastUID || strings.Contains(string(cgroup), "/tenement.slice/") {
			found = append(found, dir)
		}
	}
	return found
}

// listeners are the ports of the range on which somebody listens.
func (w *world) listeners() (found []string) {
	text, _ := os.ReadFile("/proc/self/net/tcp")
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[3] != "0A" {
			continue
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		if port, _ := strconv.ParseInt(hex, 16, 32); port >= portMin && port <= portMax {
			found = append(found, strconv.Itoa(int(port)))
		}
	}
	return found
}

// checkAccounts: a tenant keeps its uid for ever, and has one.
func (w *world) checkAccounts(t *testing.T) {
	text, err := os.ReadFile("/var/lib/tenement/uids.json")
	if err != nil {
		t.Fatal(err)
	}
	known := regexp.MustCompile(`"[a-z]+:t[0-9]+":`).FindAllString(string(text), -1)
	want := 0
	for _, tenant := range w.tenants {
		if tenant.service != "plain" {
			want++
		}
	}
	if len(known) != want {
		t.Errorf("uids: got %d, want %d: %s", len(known), want, text)
	}
}

// checkGoroutines has the daemon end with a dump of its goroutines and counts them.
func (w *world) checkGoroutines(t *testing.T) {
	pid := w.s.PID()
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	// Until the manager knows that it has ended, a `systemctl start` finds it running.
	for deadline := time.Now().Add(harness.Timeout); w.s.PID() == pid; {
		if time.Now().After(deadline) {
			t.Fatalf("the daemon did not end on SIGQUIT")
		}
		time.Sleep(5 * time.Millisecond)
	}
	out, err := w.s.Command("/usr/bin/journalctl", "--sync").CombinedOutput()
	if err != nil {
		t.Fatalf("journalctl --sync: %v %s", err, out)
	}
	dump, _ := w.s.Command("/usr/bin/journalctl", "--no-pager", "--output=cat", fmt.Sprintf("_PID=%d", pid)).CombinedOutput()
	n := strings.Count(string(dump), "\ngoroutine ")
	t.Logf("the daemon at rest: %d goroutines", n)
	if n == 0 || n > maxGoroutines {
		_, stacks, _ := strings.Cut(string(dump), "SIGQUIT")
		t.Errorf("goroutines: got %d, want 1 to %d\n%s", n, maxGoroutines, stacks)
	}
}
