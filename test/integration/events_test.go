package integration

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// What Tenement does with an instance is a story in systemd's journal, and `ten events`
// tells it, over restarts of the daemon.
func TestEvents(t *testing.T) {
	for _, rootless := range []bool{false, true} {
		t.Run(fmt.Sprintf("rootless=%v", rootless), func(t *testing.T) {
			s := harness.New(t, harness.Options{Config: app, Rootless: rootless})
			// The journal has events of the same names of other tests.
			id := map[bool]string{false: "app:teller", true: "app:user-teller"}[rootless]
			s.Run()
			s.Spawn(id)
			s.Ten("stop", id)
			s.Await(id, tenant.Asleep)
			s.Text(id, "/")
			s.Ten("limit", id, "--nofile", "1000")
			s.Signal(syscall.SIGKILL)
			s.Run()
			s.Ten("stop", id)
			story := []string{
				" was created", " woke from sleep in ", " was stopped in ", " woke from sleep in ", " has limits: nofile 1000", " was taken over, awake", " was stopped in ",
			}
			told := func() (lines []string) {
				r := s.Ten("events", id)
				if r.Code != 0 {
					t.Fatalf("events: %s", r)
				}
				for line := range strings.Lines(r.Stdout) {
					if !strings.Contains(line, " asked for ") { // which may come before or after what was asked for
						lines = append(lines, line)
					}
				}
				return lines
			}
			fits := func(lines []string) bool {
				if len(lines) != len(story) {
					return false
				}
				for i, want := range story {
					if !strings.Contains(lines[i], "  "+id+want) {
						return false
					}
				}
				return true
			}
			var lines []string
			eventually(t, "ten events tells the story", func() bool {
				lines = told()
				return fits(lines) || len(lines) > len(story)
			})
			if !fits(lines) {
				t.Errorf("got %q, want %q", lines, story)
			}
			eventually(t, "ten events tells who asked for what", func() bool {
				got := s.Ten("events", id).Stdout
				return strings.Count(got, " asked for stop of "+id) == 2 && strings.Count(got, " asked for limit of "+id) == 1
			})
			for kind, want := range map[string]int{"woke": 2, "stopped": 2, "limits": 1, "adopted": 1} {
				out, err := exec.Command("journalctl", "--quiet", "--output=cat", "-t", "tenement", "TENEMENT_INSTANCE="+id, "TENEMENT_SERVICE=app", "TENEMENT_EVENT="+kind).Output()
				if got := strings.Count(string(out), "\n"); err != nil || got != want {
					t.Errorf("journalctl of %s: got %d lines, %v, want %d:\n%s", kind, got, err, want, out)
				}
			}
			// A log that is no journal has each once.
			if got := strings.Count(s.Log.String(), "msg=woke instance="+id); got != 2 {
				t.Errorf("the daemon's log tells of %d wakes, want 2:\n%s", got, s.Log)
			}
			r := s.Ten("events", "--json", "app")
			stops := 0
			for line := range strings.Lines(r.Stdout) {
				var e struct {
					Message string
					Event   struct {
						Kind, Instance string
						Fields         map[string]any
					}
				}
				if err := json.Unmarshal([]byte(line), &e); err != nil || e.Message == "" {
					t.Errorf("--json: %v in %s", err, line)
				}
				if e.Event.Kind == "stopped" && e.Event.Instance == id && e.Event.Fields["dur_ms"] != nil {
					stops++
				}
			}
			if stops != 2 {
				t.Errorf("--json: got %d stops, want 2:\n%s", stops, r)
			}
			if r := s.Ten("events", "--since", "1h"); r.Code != 0 || !strings.Contains(r.Stdout, "  the daemon has started, version ") {
				t.Errorf("of all: %s", r)
			}

			var live harness.Output
			follow := s.Command("ten", "events", "-f", "-n", "0", id)
			follow.Stdout, follow.Stderr = &live, &live
			if err := follow.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the follower sees a wake", func() bool {
				s.Ten("restart", id)
				return strings.Contains(live.String(), " woke from sleep in ")
			})
			_ = follow.Process.Signal(syscall.SIGINT)
			_ = follow.Wait()
		})
	}
}
