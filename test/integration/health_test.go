package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// healthConfig checks often, and gives up early.
const healthConfig = `
[settings]
health_check_interval = 0.2
backoff_base_ms = 400
max_restarts = 2
[service.app]
command = "{bin}/testapp"
health = "/health"
`

// TestUnhealthyInstances makes one ill again and again, under load: it is restarted with
// growing delays, then failed, and no request is lost before that. Its neighbour notices
// nothing.
func TestUnhealthyInstances(t *testing.T) {
	// One is degraded for two intervals, which is to be seen.
	s := harness.Start(t, harness.Options{Config: strings.Replace(healthConfig, "0.2", "0.6", 1)})
	s.Spawn("app:sick", "app:well")
	well := appPID(t, s, "app:well")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var served atomic.Int64
	var loading sync.WaitGroup
	for range 4 {
		loading.Go(func() {
			for ctx.Err() == nil {
				resp, err := s.Do(ctx, http.MethodPost, "app:sick", "/count", "")
				if ctx.Err() == nil && (err != nil || resp.Status != http.StatusOK) {
					t.Errorf("during restarts: got %d %s %v", resp.Status, resp.Body, err)
				}
				served.Add(1)
			}
		})
	}
	for restarts := range 2 {
		pid := appPID(t, s, "app:sick")
		s.Fetch("app:sick", "/sick?status=500")
		eventually(t, "it is degraded", func() bool {
			i := s.Get("app:sick")
			return i.Health == tenant.Degraded && i.Reason == "health check failed: status 500"
		})
		eventually(t, "it is restarted", func() bool { return s.Get("app:sick").Restarts == int64(restarts+1) })
		s.Await("app:sick", tenant.Awake)
		eventually(t, "the log tells of it", func() bool { return strings.Count(s.Log.String(), "msg=woke instance=app:sick ") == restarts+2 })
		failed, woke := lastTold(t, s, `msg="health check failed" instance=app:sick failures=3`), lastTold(t, s, "msg=woke instance=app:sick ")
		if took := woke.Sub(failed); restarts == 1 && took < 399*time.Millisecond {
			t.Errorf("the second restart took %v, want a delay of 400 ms in it", took)
		}
		if alive(pid) {
			t.Error("the unhealthy process is still there")
		}
		if got := s.Get("app:sick").Health; got != tenant.Healthy {
			t.Errorf("after restart %d: got %q", restarts, got)
		}
	}
	before := served.Load()
	eventually(t, "requests are answered", func() bool { return served.Load() > before+20 })
	stop()
	loading.Wait()
	t.Logf("%d requests answered over two restarts", served.Load())

	s.Fetch("app:sick", "/sick?status=503")
	s.AwaitFor("app:sick", tenant.Failed, 10*time.Second)
	if got, want := s.Get("app:sick").Reason, "unhealthy: health check failed: status 503"; got != want {
		t.Errorf("got reason %q, want %q", got, want)
	}
	r := s.Ten("ps")
	if !strings.Contains(r.Stdout, "status 503") || !strings.Contains(r.Stderr, "last lines of app:sick:\n") || !strings.Contains(r.Stderr, "  feeling 503\n") {
		t.Errorf("ten ps: got %s, want the reason and the last lines", r)
	}
	if got := s.Fetch("app:sick", "/"); got.Status != http.StatusServiceUnavailable || got.Header.Get("Tenement-Error") != string(tenant.CodeFailed) {
		t.Errorf("a failed instance answers %d %q, want 503 without a start", got.Status, got.Header.Get("Tenement-Error"))
	}
	// It stays failed, also for a new daemon.
	s.Signal(syscall.SIGKILL)
	s.Run()
	if got := s.Get("app:sick"); got.State != tenant.Failed || got.Restarts != 2 || got.Reason == "" {
		t.Errorf("after the daemon was killed: got %+v, want it failed with 2 restarts", got)
	}
	if r := s.Ten("restart", "app:sick"); r.Code != 0 {
		t.Error(r)
	}
	s.Text("app:sick", "/count")
	if got := appPID(t, s, "app:well"); got != well {
		t.Errorf("the neighbour's process: got %d, want still %d", got, well)
	}
}

// lastTold is when the daemon wrote its last line with these words into its log, in
// milliseconds.
func lastTold(t *testing.T, s *harness.Server, words string) (at time.Time) {
	t.Helper()
	for line := range strings.Lines(s.Log.String()) {
		text, rest, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
		if !strings.Contains(rest, words) {
			continue
		}
		var err error
		if at, err = time.Parse(time.RFC3339, text); err != nil {
			t.Fatal(err)
		}
	}
	if at.IsZero() {
		t.Fatalf("the log has no %s:\n%s", words, s.Log)
	}
	return at
}

// What is ill and goes on, since it is never restarted, is shown as such.
func TestIllnessIsShown(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: healthConfig + "restart = \"never\"\n"})
	s.Spawn("app:alice")
	s.Fetch("app:alice", "/sick?status=500")
	eventually(t, "ps shows it", func() bool { return strings.Contains(s.Ten("ps").Stdout, "awake,unhealthy") })
	if got := s.Ten("why", "app:alice").Stdout; !strings.Contains(got, "unhealthy, last checked at") || !strings.Contains(got, "failed in a row") || !strings.Contains(got, "status 500") {
		t.Errorf("ten why: got %s, want what the checks found", got)
	}
	s.Fetch("app:alice", "/sick?status=200")
	eventually(t, "it is well again", func() bool { return strings.Contains(s.Ten("why", "app:alice").Stdout, "  healthy, last checked at") })
}

// A check that is not answered counts as well, and a client of the daemon's API sees it.
func TestAppThatHangsIsRestarted(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: healthConfig})
	s.Spawn("app:alice")
	pid := appPID(t, s, "app:alice")
	s.Fetch("app:alice", "/sick?status=0")
	eventually(t, "it is restarted", func() bool { return s.Get("app:alice").Restarts == 1 })
	s.Text("app:alice", "/count")
	if alive(pid) {
		t.Error("the process that hangs is still there")
	}
}

// Checks reach the awake only: they keep nothing awake, thaw nothing and wake nothing.
func TestChecksDisturbNoRest(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: "[settings]\nhealth_check_interval = 0.02\n[service.app]\ncommand = \"{bin}/testapp\"\n" +
		"health = \"/health\"\ndoze_timeout = 0.5\n"})
	s.Spawn("app:alice")
	dir := cgroupDir(t, s, "app:alice")
	for range 3 {
		s.Text("app:alice", "/count")
		s.Await("app:alice", tenant.Dozing)
		frozen := func() bool {
			events, err := os.ReadFile(filepath.Join(dir, "app/cgroup.events"))
			return err == nil && strings.Contains(string(events), "frozen 1")
		}
		eventually(t, "it is frozen, which takes a moment", frozen)
		for range 20 {
			if !frozen() {
				t.Fatal("it has been thawed")
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if n, err := strconv.Atoi(s.Text("app:alice", "/checks")); err != nil || n < 6 {
		t.Errorf("got %d checks %v, want some each time that it was awake", n, err)
	}
	ok(t, s, "stop", "app:alice")
	for range 20 {
		if got := s.Show("app:alice", "ActiveState"); got != "inactive" {
			t.Fatalf("a sleeper's unit is %s", got)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := s.Get("app:alice"); got.Wakes != 1 || got.Restarts != 0 {
		t.Errorf("got %d wakes and %d restarts, want 1 and none", got.Wakes, got.Restarts)
	}
}

// A daemon that is killed while an instance starts holds its requests until it is
// healthy, and goes on checking those that it adopts.
func TestAdoptedInstancesAreChecked(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: healthConfig + `
[service.late]
command = "{bin}/testapp"
health = "/health-late"
startup_timeout = 20
`})
	s.Spawn("app:alice", "late:alice")
	s.Signal(syscall.SIGKILL)
	s.Run()
	s.Text("late:alice", "/count")
	s.Fetch("app:alice", "/sick?status=500")
	eventually(t, "it is restarted", func() bool { return s.Get("app:alice").Restarts == 1 })
	s.Text("app:alice", "/count")
}

func TestRestartPolicies(t *testing.T) {
	var config strings.Builder
	for _, policy := range []string{"always", "on-failure", "never"} {
		fmt.Fprintf(&config, "[service.%s]\ncommand = \"{bin}/testapp\"\nrestart = %q\n", policy, policy)
	}
	config.WriteString("[service.default]\ncommand = \"{bin}/testapp\"\n")
	s := harness.Start(t, harness.Options{Config: config.String()})
	for _, c := range []struct {
		service string
		kill    bool
		want    tenant.State
	}{
		{"always", true, tenant.Awake}, {"always", false, tenant.Awake},
		{"on-failure", true, tenant.Awake}, {"on-failure", false, tenant.Asleep},
		{"never", true, tenant.Failed}, {"never", false, tenant.Asleep},
		{"default", true, tenant.Awake}, {"default", false, tenant.Asleep},
	} {
		id := fmt.Sprintf("%s:kill-%v", c.service, c.kill)
		s.Spawn(id)
		pid := appPID(t, s, id)
		if c.kill {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		} else if _, err := s.Do(t.Context(), http.MethodPost, id, "/exit?code=0", ""); err != nil {
			t.Fatal(err) // the proxy says that the app has gone
		}
		eventually(t, id+" is "+c.want.String(), func() bool {
			i := s.Get(id)
			return i.State == c.want && (i.Restarts == 1) == (c.want == tenant.Awake)
		})
		if alive(pid) {
			t.Errorf("%s: process %d is still there", id, pid)
		}
		if c.want == tenant.Failed {
			if got := s.Fetch(id, "/count").Status; got != http.StatusServiceUnavailable {
				t.Errorf("%s: got %d, want 503", id, got)
			}
			if r := s.Ten("restart", id); r.Code != 0 {
				t.Error(r)
			}
		}
		if got := s.Text(id, "/count"); got != "1" {
			t.Errorf("%s: got count %s, want 1 of a new process", id, got)
		}
	}
}

// A request straight after a kill -9, with default settings, is answered within seconds.
func TestRequestStraightAfterAKill(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	s.Text("app:alice", "/count")
	for range 2 {
		if err := syscall.Kill(appPID(t, s, "app:alice"), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		// One that would have to wait longer than for seconds is told to come back.
		if got := s.Text("app:alice", "/count"); got != "1" {
			t.Errorf("got count %s, want 1 of a new process", got)
		}
	}
}
