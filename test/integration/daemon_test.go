package integration

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

func TestKilledDaemonAdoptsItsInstances(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "doze_timeout = 3\n" + `
[service.other]
command = "{bin}/testapp"
`})
	s.Spawn("app:doze", "other:awake", "other:asleep")
	for _, id := range []string{"app:doze", "other:awake"} {
		s.Text(id, "/count")
	}
	s.Ten("stop", "other:asleep")
	s.Await("app:doze", tenant.Dozing)
	pids := map[string]int{"app:doze": appPID(t, s, "app:doze"), "other:awake": appPID(t, s, "other:awake")}

	s.Signal(syscall.SIGKILL)
	for id, pid := range pids {
		if !alive(pid) {
			t.Errorf("%s died with the daemon", id)
		}
	}
	s.Run()
	for id, want := range map[string]tenant.State{"app:doze": tenant.Dozing, "other:awake": tenant.Awake, "other:asleep": tenant.Asleep} {
		s.AwaitFor(id, want, 5*time.Second)
	}
	for id, pid := range pids {
		if got := s.Text(id, "/count"); got != "2" {
			t.Errorf("%s: got count %s, want 2 of the same process", id, got)
		}
		if got := appPID(t, s, id); got != pid {
			t.Errorf("%s: process is %d, want still %d", id, got, pid)
		}
	}
	if got := s.Text("other:asleep", "/count"); got != "1" {
		t.Errorf("other:asleep: got count %s, want 1", got)
	}
	if got := s.Get("other:asleep").Wakes; got < 1 {
		t.Errorf("wakes of an instance from before: got %d", got)
	}
}

// TestRestartUnderLoad restarts the daemon behind a socket that systemd holds: no
// connection is refused, requests only fail where they were in flight at kill -9.
func TestRestartUnderLoad(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app, Unit: true})
	s.Spawn("app:a", "app:b")
	pid := appPID(t, s, "app:a")

	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var ok, cut atomic.Int64
	var loading sync.WaitGroup
	for i := range 8 {
		loading.Go(func() {
			id := []string{"app:a", "app:b"}[i%2]
			for ctx.Err() == nil {
				// A connection of its own for each: a kept one may die with the daemon.
				resp, err := s.Do(ctx, http.MethodGet, id, "/", "", "Connection", "close")
				switch {
				case ctx.Err() != nil:
				case err != nil && strings.Contains(err.Error(), "refused"):
					t.Errorf("a connection was refused: %v", err)
				case err != nil:
					t.Logf("cut off: %v", err)
					cut.Add(1)
				case resp.Status != http.StatusOK:
					t.Errorf("got %d %s", resp.Status, resp.Body)
				default:
					ok.Add(1)
				}
			}
		})
	}
	for range 3 {
		before := ok.Load()
		eventually(t, "requests are answered", func() bool { return ok.Load() > before+50 })
		cutBefore := cut.Load()
		s.Unit("restart")
		if got := cut.Load(); got != cutBefore {
			t.Errorf("a restart cut off %d requests, want none", got-cutBefore)
		}
	}
	for range 3 {
		before := ok.Load()
		eventually(t, "requests are answered", func() bool { return ok.Load() > before+50 })
		s.Unit("kill", "--signal=KILL")
	}
	before := ok.Load()
	eventually(t, "requests are answered", func() bool { return ok.Load() > before+50 })
	stop()
	loading.Wait()
	t.Logf("%d requests answered, %d cut off by kill -9", ok.Load(), cut.Load())
	if cut.Load() > 3*8 {
		t.Errorf("%d requests cut off by three kills of a daemon with 8 in flight", cut.Load())
	}
	if got := appPID(t, s, "app:a"); got != pid {
		t.Errorf("process: got %d, want still %d", got, pid)
	}
}

func TestStateOfTheManagerIsFollowed(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	// Stopped behind our back, it is asleep; started, awake.
	s.Systemctl("stop", "tenement-app@alice.service")
	s.Await("app:alice", tenant.Asleep)
	s.Systemctl("start", "tenement-app@alice.service")
	s.Await("app:alice", tenant.Awake)
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("got count %s, want 1", got)
	}
	// Its doorbell taken away as well, a request has it loaded again.
	s.Systemctl("stop", "tenement-app@alice.socket", "tenement-app@alice.service")
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("without a doorbell: got count %s, want 1", got)
	}
	// daemon-reload and daemon-reexec lose nothing.
	for _, verb := range []string{"daemon-reload", "daemon-reexec"} {
		s.Systemctl(verb)
		s.Ten("stop", "app:alice")
		if got := s.Text("app:alice", "/count"); got != "1" {
			t.Errorf("after %s: got count %s, want 1", verb, got)
		}
	}
}

func TestDoorbellsAreFew(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: "[settings]\ndoorbells = 2\n" + app})
	for i := range 5 {
		id := fmt.Sprintf("app:t%d", i)
		s.Spawn(id)
		s.Ten("stop", id)
	}
	eventually(t, "two doorbells are left", func() bool {
		return strings.Count(s.Systemctl("list-units", "--plain", "--no-legend", "tenement-*@*.socket"), ".socket") == 2
	})
	for i := range 5 {
		if got := s.Text(fmt.Sprintf("app:t%d", i), "/count"); got != "1" {
			t.Errorf("t%d: got count %s, want 1", i, got)
		}
	}
}

func TestReload(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	pid := appPID(t, s, "app:alice")
	hangUp := func(word string) {
		t.Helper()
		said := s.Log.Watch(word)
		if err := syscall.Kill(s.PID(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		select {
		case <-said:
		case <-time.After(harness.Timeout):
			t.Fatalf("the daemon did not say %q", word)
		}
	}
	s.WriteFile("tenement.toml", app+"idel_timeout = 3\n")
	hangUp("configuration not reloaded")
	if !strings.Contains(s.Log.String(), "tenement.toml:4") {
		t.Errorf("the daemon named no line:\n%s", s.Log)
	}
	s.WriteFile("tenement.toml", app+"\n[service.other]\ncommand = \"{bin}/testapp\"\n")
	hangUp("configuration reloaded")
	s.Spawn("other:bob")
	if got := appPID(t, s, "app:alice"); got != pid {
		t.Errorf("process of app:alice: got %d, want still %d", got, pid)
	}
}

func TestConfiguredInstancesComeUp(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: `
[service.app]
command = "{bin}/testapp"
[service.broken]
command = "{bin}/testapp exit=1"
[instances]
broken = ["x"]
app = ["one", "two"]
`})
	s.Await("app:one", tenant.Awake)
	s.Await("app:two", tenant.Awake)
	eventually(t, "the broken one has a reason", func() bool { return s.Get("broken:x").Reason != "" })
}
