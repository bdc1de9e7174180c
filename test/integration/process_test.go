package integration

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

// cgroupDir is the cgroup of an instance's unit.
func cgroupDir(t *testing.T, s *harness.Server, id string) string {
	t.Helper()
	path := s.Show(id, "ControlGroup")
	if path == "" {
		t.Fatalf("%s has no cgroup", id)
	}
	return filepath.Join("/sys/fs/cgroup", path)
}

// appPIDs are the processes of an instance's app, as this machine numbers them.
func appPIDs(t *testing.T, s *harness.Server, id string) []int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(cgroupDir(t, s, id), "app/cgroup.procs"))
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// appPID is the app's only process. ten-init is beside it at first, and moves out.
func appPID(t *testing.T, s *harness.Server, id string) int {
	t.Helper()
	var pids []int
	eventually(t, id+" has one process", func() bool {
		pids = appPIDs(t, s, id)
		return len(pids) == 1
	})
	return pids[0]
}

// alive reports whether a process runs, zombies not counted.
func alive(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// awaitPort waits until something listens on a port of the loopback.
func awaitPort(t *testing.T, port int) {
	t.Helper()
	eventually(t, "port "+strconv.Itoa(port)+" accepts connections", func() bool {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}

// eventually waits until something is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(harness.Timeout)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
