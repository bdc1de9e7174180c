package integration

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

func TestCommandThatCannotStart(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: `
[service.app]
command = "{bin}/testapp delay=1s unless=fixed"
startup_timeout = 20
`})
	if r := s.Ten("spawn", "app:alice"); r.Code != 5 || !strings.Contains(r.Stderr, "not fixed yet") {
		t.Errorf("spawn: got %s, want code 5 and the app's last words", r)
	}
	// The brake of the spawn's failure is over at once; that of the second is not.
	begun := time.Now()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			resp := s.Fetch("app:alice", "/")
			if resp.Status != http.StatusServiceUnavailable || resp.Header.Get("Tenement-Error") != string(tenant.CodeStartFailed) {
				t.Errorf("a waiter: got %d %s %q, want 503 start_failed", resp.Status, resp.Body, resp.Header.Get("Tenement-Error"))
			}
		})
	}
	wg.Wait()
	resp := s.Fetch("app:alice", "/")
	if resp.Status != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("while braked: got %d, Retry-After %q, want 503 with one", resp.Status, resp.Header.Get("Retry-After"))
	}
	if took := time.Since(begun); took >= 20*time.Second {
		t.Errorf("the answers took %v, want them before startup_timeout", took)
	}
	s.WriteFile("fixed", "")
	wait, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	time.Sleep(time.Duration(wait) * time.Second) // as the answer says
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("after the fix: got count %s, want 1", got)
	}
}

func TestTooManyFailuresNeedAnOperator(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: `
[settings]
max_restarts = 2
backoff_base_ms = 1
[service.app]
command = "{bin}/testapp unless=fixed"
`})
	s.Ten("spawn", "app:alice")
	deadline := time.Now().Add(harness.Timeout)
	for s.Get("app:alice").State != tenant.Failed && time.Now().Before(deadline) {
		s.Fetch("app:alice", "/")
	}
	s.WriteFile("fixed", "")
	if resp := s.Fetch("app:alice", "/"); resp.Status != 503 || resp.Header.Get("Tenement-Error") != string(tenant.CodeFailed) {
		t.Errorf("failed for good: got %d %q, want 503 failed", resp.Status, resp.Header.Get("Tenement-Error"))
	}
	if got := s.Ten("ps").Stdout; !strings.Contains(got, "failed") || !strings.Contains(got, "exit status 3") {
		t.Errorf("ps: got\n%swant it failed with the reason", got)
	}
	if r := s.Ten("restart", "app:alice"); r.Code != 0 {
		t.Errorf("restart: %s", r)
	}
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("after the restart: got count %s, want 1", got)
	}
}

func TestCommandThatNeverListens(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: `
[service.app]
command = "{bin}/testapp hang"
startup_timeout = 1
`})
	begun := time.Now()
	r := s.Ten("spawn", "app:alice")
	if r.Code != 5 || !strings.Contains(r.Stderr, "accepted no connection on port") {
		t.Errorf("spawn: got %s, want code 5 and that it accepted no connection", r)
	}
	if !strings.Contains(r.Stderr, "hint: it must listen at 127.0.0.1:$PORT, and at no port of its own choice; startup_timeout of service app is 1s") {
		t.Errorf("spawn: got %s, want where it has to listen", r)
	}
	if took := time.Since(begun); took > 8*time.Second {
		t.Errorf("it took %v, want about startup_timeout", took)
	}
	if got := s.Show("app:alice", "MainPID"); got != "0" && got != "" {
		// It may take its stop_grace to end, but not longer.
		s.AwaitFor("app:alice", tenant.Asleep, harness.Timeout)
	}
}

func TestStartupTimeoutIsRespected(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: `
[service.app]
command = "{bin}/testapp delay=12s"
startup_timeout = 40
`})
	if r := s.Ten("spawn", "app:alice"); r.Code != 0 {
		t.Fatalf("spawn of an app that takes 12 s: %s", r)
	}
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("got count %s, want 1", got)
	}
}

func TestHealthGatesTraffic(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: `
[service.late]
command = "{bin}/testapp"
health = "/health-late"
[service.never]
command = "{bin}/testapp"
health = "/never-healthy"
startup_timeout = 1
`})
	s.Spawn("late:alice")
	if got := s.Text("late:alice", "/health-late"); got != "" {
		t.Errorf("traffic before the health endpoint answered 200: %s", got)
	}
	if r := s.Ten("spawn", "never:alice"); r.Code != 5 || !strings.Contains(r.Stderr, "status 500") {
		t.Errorf("spawn of one that is never healthy: got %s, want code 5 and status 500", r)
	}
	s.AwaitFor("never:alice", tenant.Asleep, harness.Timeout)
	if got := s.Show("never:alice", "MainPID"); got != "0" && got != "" {
		t.Errorf("the unhealthy one still runs as %s", got)
	}
}

func TestKilledAppIsReplacedForTheNextRequest(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: "[settings]\nmax_restarts = 100\nbackoff_base_ms = 100\nbackoff_max_ms = 100\n" + app})
	s.Spawn("app:alice")
	for range 5 {
		pid := appPID(t, s, "app:alice")
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		resp := s.Fetch("app:alice", "/count")
		if resp.Status != 200 || strings.TrimSpace(resp.Body) != "1" {
			t.Errorf("straight after kill -9: got %d %s, want 200 from a new process", resp.Status, resp.Body)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	}
}

func TestPortTakenBySomebodyElse(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: `
[settings]
port_range = "31000-31010"
` + app})
	s.Spawn("app:alice")
	port := s.Get("app:alice").Port
	s.Ten("stop", "app:alice")
	squatter := s.Command("python3", "-m", "http.server", strconv.Itoa(port), "--bind", "127.0.0.1")
	if err := squatter.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = squatter.Process.Kill(); _ = squatter.Wait() }()
	awaitPort(t, port)
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("got %q, want the app's own count", got)
	}
	if got := s.Get("app:alice").Port; got == port || got == 0 {
		t.Errorf("port: got %d, want another than %d", got, port)
	}
}
