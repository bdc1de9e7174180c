package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// What fills memory or disks of all fills only what is the instance's own.
func TestScratchIsBounded(t *testing.T) {
	rootAndUser(t, app, func(t *testing.T, s *harness.Server) {
		s.Spawn("app:alice", "app:bob")
		for path, mb := range map[string]string{"/tmp": "260", "/var/tmp": "260", "/dev/shm": "70"} {
			file := filepath.Join(path, "of-alice")
			if resp := s.Fetch("app:alice", "/fill?path="+file+"&mb="+mb); resp.Status != http.StatusInsufficientStorage || !strings.Contains(resp.Body, "no space left") {
				t.Errorf("%s MiB in %s: got %d %s, want that there is no space", mb, path, resp.Status, resp.Body)
			}
			if resp := s.Fetch("app:alice", "/read?most=1&path="+file); resp.Status != http.StatusOK || len(resp.Body) != 1 {
				t.Errorf("%s of alice: got %d, %d bytes", path, resp.Status, len(resp.Body))
			}
			if resp := s.Fetch("app:bob", "/read?most=1&path="+file); resp.Status != http.StatusForbidden {
				t.Errorf("bob sees %s of alice: got %d", path, resp.Status)
			}
			if _, err := os.Stat(file); !os.IsNotExist(err) {
				t.Errorf("%s of alice is the machine's: %v", path, err)
			}
			s.Fetch("app:alice", "/fill?path="+file+"&mb=0")
		}
	})
}

// Where the machine has no controllers limits that need one are refused, and others
// hold.
func TestLimitsOnThisMachine(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "nofile = 512\n"})
	s.Spawn("app:alice", "app:bob")
	if got := s.Text("app:alice", "/rlimits"); got != "512\n512\n0" {
		t.Errorf("open files and core dumps: got %q, want 512, 512 and 0", got)
	}
	for property, want := range map[string]string{"LogRateLimitIntervalUSec": "10s", "LogRateLimitBurst": "1000", "TasksMax": "1024"} {
		if got := s.Show("app:alice", property); got != want {
			t.Errorf("%s: got %s, want %s", property, got, want)
		}
	}
	pid := s.Seen("app:alice", "/").PID
	r := s.Ten("limit", "app:alice", "--nofile", "600")
	if r.Code != 0 || !strings.Contains(r.Stdout, "nofile changes with the next start") {
		t.Errorf("ten limit: %s", r)
	}
	if got := s.Seen("app:alice", "/").PID; got != pid {
		t.Errorf("it was restarted: pid %d after %d", got, pid)
	}
	memory := strings.Contains(s.Ten("doctor").Stdout, "ok  memory_limit_mb ")
	if r := s.Ten("limit", "app:alice", "--memory", "100M"); memory != (r.Code == 0) || !memory && !strings.Contains(r.Stderr, "hint:") {
		t.Errorf("the machine has the memory controller: %t; ten limit: %s", memory, r)
	}
	s.Signal(syscall.SIGKILL)
	s.Run()
	s.Await("app:alice", tenant.Awake)
	if r := s.Ten("restart", "app:alice"); r.Code != 0 {
		t.Fatal(r)
	}
	if got := s.Text("app:alice", "/rlimits"); got != "600\n600\n0" {
		t.Errorf("open files after a restart: got %q, want 600", got)
	}
	if got := s.Text("app:bob", "/rlimits"); got != "512\n512\n0" {
		t.Errorf("bob's: got %q, want 512", got)
	}
}

// An instance that keeps too much is stopped where the file system cannot help it.
func TestStorageIsMeasured(t *testing.T) {
	rootAndUser(t, app+"storage_quota_mb = 5\n", func(t *testing.T, s *harness.Server) {
		s.Spawn("app:alice", "app:bob")
		if out := s.Ten("doctor").Stdout; !strings.Contains(out, "no  storage_quota_mb ") {
			t.Errorf("doctor does not say that data is measured:\n%s", out)
		}
		measure := func(want string) {
			t.Helper()
			if r := s.Ten("limit", "app:alice"); r.Code != 0 || !strings.Contains(r.Stdout, want) {
				t.Errorf("ten limit: got %s, want %q", r, want)
			}
		}
		s.Fetch("app:alice", "/fill?path=some&mb=4")
		measure("4M")
		if got := s.Get("app:alice"); got.State != tenant.Awake || got.Storage < 4<<20 || got.StorageLimit != 5<<20 || !strings.HasPrefix(got.Reason, "its data is 4M of the 5M") {
			t.Errorf("at 80 %%: got %+v", got)
		}
		s.Fetch("app:alice", "/fill?path=more&mb=4")
		measure("8M")
		s.Await("app:alice", tenant.Asleep)
		refused := func() {
			t.Helper()
			resp := s.Fetch("app:alice", "/")
			if resp.Status != http.StatusServiceUnavailable || !strings.Contains(resp.Body, "its data is 8M and may be 5M") || !strings.Contains(resp.Body, "ten limit app:alice --storage") || resp.Header.Get("Retry-After") == "" {
				t.Errorf("over the limit: got %d %s %v", resp.Status, resp.Body, resp.Header)
			}
		}
		refused()
		if got := s.Get("app:alice"); got.State != tenant.Asleep || !strings.Contains(got.Reason, "its data is 8M and may be 5M") {
			t.Errorf("over it: got %+v", got)
		}
		s.Text("app:bob", "/count")
		s.Signal(syscall.SIGKILL)
		s.Run()
		refused()
		if err := os.Remove(filepath.Join(s.Dir, "data/app/alice/more")); err != nil {
			t.Fatal(err)
		}
		measure("4M")
		if got := s.Text("app:alice", "/count"); got != "1" {
			t.Errorf("with less data: got %s, want a new process", got)
		}
	})
}

// rootAndUser tries a server as root, and one as an ordinary user.
func rootAndUser(t *testing.T, config string, try func(*testing.T, *harness.Server)) {
	for name, rootless := range map[string]bool{"root": false, "user": true} {
		t.Run(name, func(t *testing.T) { try(t, harness.Start(t, harness.Options{Config: config, Rootless: rootless})) })
	}
}
