package integration

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// TestEndsThatNobodyAskedFor: the kill of ten-init counts as a failure, also where systemd
// takes it for a success; a stop by hand counts as what it is.
func TestEndsThatNobodyAskedFor(t *testing.T) {
	const unit = "tenement-app@alice.service"
	s := harness.Start(t, harness.Options{Config: "[settings]\nmax_restarts = 20\nbackoff_base_ms = 10\nbackoff_max_ms = 10\n" + app})
	s.Spawn("app:alice")
	for n := range 6 {
		app := appPID(t, s, "app:alice")
		pid, err := strconv.Atoi(s.Show("app:alice", "MainPID"))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		// A request that its app has read before it dies is lost with it.
		eventually(t, "the app has gone with it", func() bool { return !alive(app) })
		if n%2 == 0 { // noticed by a request, or by nobody
			s.Text("app:alice", "/count")
		}
		eventually(t, fmt.Sprintf("restart %d is counted", n+1), func() bool {
			i := s.Get("app:alice")
			return i.State == tenant.Awake && i.Restarts == int64(n+1)
		})
	}
	s.Systemctl("stop", unit)
	s.Await("app:alice", tenant.Asleep)
	if got := s.Ten("why", "app:alice").Stdout; !strings.Contains(got, "stopped from outside") {
		t.Errorf("ten why after systemctl stop: got %s", got)
	}
	if got := s.Get("app:alice").Restarts; got != 6 {
		t.Errorf("got %d restarts, want still 6", got)
	}
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("got count %s, want 1 of a new process", got)
	}
}

// TestRequestThatEndsTheApp: each counts once, however harmless its method.
func TestRequestThatEndsTheApp(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: "[settings]\nmax_restarts = 3\nbackoff_base_ms = 10\nbackoff_max_ms = 10\n" + app})
	s.Spawn("app:alice")
	for n := range 3 {
		if got := s.Fetch("app:alice", "/exit?code=1").Status; got != http.StatusBadGateway {
			t.Errorf("request %d: got %d, want 502", n+1, got)
		}
		eventually(t, fmt.Sprintf("restart %d", n+1), func() bool {
			i := s.Get("app:alice")
			return i.State == tenant.Awake && i.Restarts == int64(n+1)
		})
	}
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("got count %s, want 1 of a new process", got)
	}
}
