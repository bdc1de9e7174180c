package lifecycle_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
)

// endUnderRequest has the app of alice end, well or not, and makes a request that rings
// before the hint of the end has come, as one that waits at the doorbell does.
func (w *world) endUnderRequest(exit chan struct{}) (string, error) {
	w.t.Helper()
	e, release := w.acquire(alice)
	defer release()
	if exit == nil {
		w.systemd.Crash(alice)
	} else {
		close(exit)
	}
	synctest.Wait()
	return exchange(w.t.Context(), e)
}

// lateHints has hints come long after all else.
func (w *world) lateHints() {
	w.systemd.SetLatency(func(op string) time.Duration {
		if op == "hint" {
			return 50 * time.Millisecond
		}
		return 0
	})
}

// A request that notices an end before the hint of it is served by the next process,
// and counts no failure that was none, however often.
func TestEndThatARequestNoticesFirst(t *testing.T) {
	for _, c := range []struct {
		policy   string
		crash    bool
		want     tenant.State // when it has happened more often than max_restarts
		restarts int64        // after the first end
	}{
		{"on-failure", false, tenant.Awake, 0},
		{"never", false, tenant.Awake, 0},
		{"always", false, tenant.Failed, 1},
		{"on-failure", true, tenant.Failed, 1},
		{"always", true, tenant.Failed, 1},
		{"never", true, tenant.Awake, 0}, // whom a request wants again, it gets
	} {
		t.Run(fmt.Sprint(c.policy, " crash ", c.crash), func(t *testing.T) {
			text := strings.Replace(notes("restart = \""+c.policy+"\"\n"), "[settings]\n", "[settings]\nmax_restarts = 3\nbackoff_base_ms = 10\n", 1)
			bubble(t, text, func(t *testing.T, w *world) {
				w.lateHints()
				exit := make(chan struct{})
				w.systemd.SetApp(alice, lifecycletest.App{Exit: exit})
				w.spawn(alice)
				for i := range 6 {
					time.Sleep(time.Second)
					if s := w.get(alice); s.State == tenant.Failed {
						break
					}
					var closes chan struct{}
					if next := make(chan struct{}); !c.crash {
						w.systemd.SetApp(alice, lifecycletest.App{Exit: next})
						closes, exit = exit, next
					}
					got, err := w.endUnderRequest(closes)
					if i == 0 {
						if got != "2" || err != nil {
							t.Errorf("got run %q, %v, want 2", got, err)
						}
						time.Sleep(time.Second)
						w.starts(alice, 2)
						if s := w.state(alice, tenant.Awake); s.Restarts != c.restarts {
							t.Errorf("got %d restarts after failures, want %d", s.Restarts, c.restarts)
						}
					}
					if c.want == tenant.Awake && err != nil {
						t.Errorf("end %d: %v", i+1, err)
					}
				}
				time.Sleep(time.Second)
				w.state(alice, c.want)
			})
		})
	}
}

// Where the hint has come, but no look could find the instance down, it says how it ended.
func TestEndThatOnlyAHintTells(t *testing.T) {
	for _, c := range []struct {
		policy   string
		crash    bool
		want     tenant.State
		restarts int64
	}{
		{"on-failure", false, tenant.Awake, 0},
		{"never", false, tenant.Awake, 0},
		{"on-failure", true, tenant.Awake, 1},
		{"never", true, tenant.Failed, 0},
	} {
		t.Run(fmt.Sprint(c.policy, " crash ", c.crash), func(t *testing.T) {
			bubble(t, notes("restart = \""+c.policy+"\"\n"), func(t *testing.T, w *world) {
				exit := make(chan struct{})
				w.systemd.SetApp(alice, lifecycletest.App{Exit: exit})
				w.spawn(alice)
				time.Sleep(time.Second)
				w.systemd.SetApp(alice, lifecycletest.App{})
				w.systemd.SetLatency(func(op string) time.Duration {
					if op == "list" {
						return 20 * time.Millisecond
					}
					return 0
				})
				if c.crash {
					exit = nil
				}
				_, err := w.endUnderRequest(exit)
				if c.want == tenant.Failed {
					code(t, err, tenant.CodeFailed)
				} else if err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
				if s := w.state(alice, c.want); s.Restarts != c.restarts {
					t.Errorf("got %d restarts after failures, want %d", s.Restarts, c.restarts)
				}
			})
		})
	}
}

// A health check that notices an end first leaves it asleep until that is known to have
// been a failure.
func TestEndThatAHealthCheckNoticesFirst(t *testing.T) {
	for _, c := range []struct {
		policy string
		crash  bool
		want   tenant.State
	}{
		{"on-failure", false, tenant.Asleep},
		{"never", false, tenant.Asleep},
		{"on-failure", true, tenant.Awake},
		{"never", true, tenant.Failed},
	} {
		t.Run(fmt.Sprint(c.policy, " crash ", c.crash), func(t *testing.T) {
			bubble(t, notes("health = \"/up\"\nrestart = \""+c.policy+"\"\n"), func(t *testing.T, w *world) {
				exit := make(chan struct{})
				w.systemd.SetApp(alice, lifecycletest.App{Exit: exit})
				w.spawn(alice)
				time.Sleep(time.Second)
				w.systemd.SetApp(alice, lifecycletest.App{})
				w.systemd.SetLatency(func(op string) time.Duration {
					if op == "hint" {
						return 20 * time.Second
					}
					return 0
				})
				if c.crash {
					w.systemd.Crash(alice)
				} else {
					close(exit)
				}
				time.Sleep(12 * time.Second) // a check, and no look at all of them yet
				w.state(alice, tenant.Asleep)
				time.Sleep(4 * time.Minute)
				w.state(alice, c.want)
				if c.want != tenant.Failed {
					if _, err := w.request(alice); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}
