package integration

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// armedApp is a service whose sleepers are armed, n at most.
func armedApp(n int, isolation string) string {
	return fmt.Sprintf("[settings]\narmed = %d\n[service.app]\ncommand = \"{bin}/testapp\"\nisolation = %q\n", n, isolation)
}

// awaitArmed waits until an instance is armed, and gives the process that waits.
func awaitArmed(t *testing.T, s *harness.Server, id string) (pid string) {
	t.Helper()
	eventually(t, id+" is armed", func() bool { return s.Get(id).Armed })
	if got := s.Get(id).State; got != tenant.Asleep {
		t.Errorf("%s: got state %v, want asleep", id, got)
	}
	if got := s.Show(id, "ActiveState"); got != "active" {
		t.Errorf("%s: got ActiveState %q, want active", id, got)
	}
	if got, want := s.Show(id, "StatusText"), "armed: sandbox ready, app not started"; got != want {
		t.Errorf("%s: got status %q, want %q", id, got, want)
	}
	return s.Show(id, "MainPID")
}

func TestArmed(t *testing.T) {
	for _, isolation := range []string{"process", "namespace"} {
		t.Run(isolation, func(t *testing.T) {
			s := harness.Start(t, harness.Options{Config: armedApp(2, isolation)})
			s.Spawn("app:alice")
			if isolation == "namespace" {
				s.Fetch("app:alice", "/write?path=/tmp/left-behind")
			}
			s.Ten("stop", "app:alice")
			pid := awaitArmed(t, s, "app:alice")
			if got := appPIDs(t, s, "app:alice"); len(got) != 1 || strconv.Itoa(got[0]) != pid {
				t.Errorf("got processes %v, want ten-init (%s) alone", got, pid)
			}

			// A killed daemon's successor finds it as it is.
			s.Signal(syscall.SIGKILL)
			s.Run()
			if got := awaitArmed(t, s, "app:alice"); got != pid {
				t.Errorf("after a kill of the daemon: got process %s, want %s", got, pid)
			}

			// The wake starts the app, and nothing else.
			resp := s.Fetch("app:alice", "/count")
			if resp.Status != 200 || strings.TrimSpace(resp.Body) != "1" || !strings.Contains(resp.Header.Get("Server-Timing"), "armed") {
				t.Errorf("got %d %q with timing %q", resp.Status, resp.Body, resp.Header.Get("Server-Timing"))
			}
			if got := s.Show("app:alice", "MainPID"); got != pid {
				t.Errorf("awake: got process %s, want %s", got, pid)
			}
			eventually(t, "its status is that of an armed one no longer", func() bool { return s.Show("app:alice", "StatusText") == "" })
			if got := s.Get("app:alice"); got.Armed || got.LastWake.Kind != tenant.WakeArmed || got.LastWake.UnitStart != 0 {
				t.Errorf("awake: got armed %v and wake %+v", got.Armed, got.LastWake)
			}
			if isolation == "namespace" {
				if resp := s.Fetch("app:alice", "/read?path=/tmp/left-behind"); resp.Status == 200 {
					t.Errorf("something of the last run was left in /tmp: %d %q", resp.Status, resp.Body)
				}
			}
			if got := strconv.Itoa(appPID(t, s, "app:alice")); got == pid {
				t.Errorf("awake: the app is process %s, which is ten-init", got)
			}
		})
	}
}

// What is armed and ends is asleep as before, and the next request does not notice.
func TestArmedThatIsKilled(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: armedApp(2, "namespace")})
	s.Spawn("app:alice")
	s.Ten("stop", "app:alice")
	pid, err := strconv.Atoi(awaitArmed(t, s, "app:alice"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is armed no longer", func() bool { return !s.Get("app:alice").Armed })
	if got := s.Get("app:alice"); got.State != tenant.Asleep || got.Restarts != 0 {
		t.Errorf("got state %v and %d restarts, want it asleep", got.State, got.Restarts)
	}
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("got count %s", got)
	}
	if w := why(t, s, "app:alice"); w.Failures != 0 {
		t.Errorf("got %d failures, want none", w.Failures)
	}
}

// The least recently used gives way, and a reload with none armed ends all of them.
func TestFewAreArmed(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: armedApp(2, "namespace")})
	for _, id := range []string{"app:a", "app:b", "app:c"} {
		s.Spawn(id)
		s.Ten("stop", id)
	}
	awaitArmed(t, s, "app:b")
	awaitArmed(t, s, "app:c")
	if s.Get("app:a").Armed {
		t.Error("the least recently used of three is armed, want two")
	}
	s.Text("app:a", "/")
	s.Ten("stop", "app:a")
	awaitArmed(t, s, "app:a")
	eventually(t, "b gives way", func() bool { return !s.Get("app:b").Armed && s.Show("app:b", "ActiveState") == "inactive" })
	s.WriteFile("tenement.toml", armedApp(0, "namespace"))
	if err := syscall.Kill(s.PID(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"app:a", "app:c"} {
		eventually(t, id+" sleeps", func() bool { return !s.Get(id).Armed && s.Show(id, "ActiveState") == "inactive" })
		if got := s.Text(id, "/count"); got != "1" {
			t.Errorf("%s: got count %s", id, got)
		}
	}
}

// A crowd of armed sleepers wakes without a single start of a unit.
func TestArmedStorm(t *testing.T) {
	const crowd = 15
	s := harness.Start(t, harness.Options{Config: armedApp(crowd, "namespace") + "on_demand = true\nmax_instances = 100\nwaiting_page = 0\n"})
	before := map[string]string{}
	var ids []string
	for i := range crowd {
		ids = append(ids, fmt.Sprintf("app:t%d", i))
	}
	storm(t, s, ids) // creates them
	if r := s.Ten(append([]string{"stop"}, ids...)...); r.Code != 0 {
		t.Fatal(r)
	}
	for armed := 0; armed < crowd; { // one by one, and half of the time none
		eventually(t, fmt.Sprintf("more than %d are armed", armed), func() bool {
			n := 0
			for _, i := range s.List() {
				if i.Armed {
					n++
				}
			}
			more := n > armed
			armed = max(n, armed)
			return more
		})
	}
	for _, id := range ids {
		before[id] = awaitArmed(t, s, id)
	}
	begun := time.Now()
	storm(t, s, ids)
	t.Logf("%d armed tenants in %v", crowd, time.Since(begun))
	for _, id := range ids {
		if got := s.Show(id, "MainPID"); got != before[id] {
			t.Errorf("%s: got process %s, want %s, which was armed", id, got, before[id])
		}
		if got := s.Get(id).LastWake; got.Kind != tenant.WakeArmed {
			t.Errorf("%s: got wake %+v, want an armed one", id, got)
		}
	}
	if r := s.Ten(append([]string{"destroy", "--yes"}, ids...)...); r.Code != 0 {
		t.Error(r)
	}
}
