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

// ending is a way in which a process may end that the Manager has not stopped.
type ending string

const (
	clean   ending = "exits well"
	crash   ending = "crashes"
	unseen  ending = "crashes unseen" // systemd takes it for well
	stopped ending = "is stopped by hand"
)

// next is what becomes of it when nobody asks for it, and how many restarts that counts.
func (e ending) next(policy string) (tenant.State, int64) {
	failure := e == crash || e == unseen
	switch {
	case e == stopped, e == clean && policy != "always":
		return tenant.Asleep, 0
	case failure && policy == "never":
		return tenant.Failed, 0
	default:
		return tenant.Awake, 1
	}
}

// everyEnding runs f for all policies and endings.
func everyEnding(t *testing.T, more string, f func(t *testing.T, w *world, policy string, e ending)) {
	t.Helper()
	for _, policy := range []string{"always", "on-failure", "never"} {
		for _, e := range []ending{clean, crash, unseen, stopped} {
			t.Run(fmt.Sprint(policy, " ", e), func(t *testing.T) {
				bubble(t, notes("restart = \""+policy+"\"\n"+more), func(t *testing.T, w *world) { f(t, w, policy, e) })
			})
		}
	}
}

// prepare has alice run so that she can end as e says, and end does that.
func (w *world) prepare(e ending) (end func()) {
	w.t.Helper()
	exit := make(chan struct{})
	w.systemd.SetApp(alice, lifecycletest.App{Exit: exit, Unseen: e == unseen})
	w.spawn(alice)
	time.Sleep(time.Second)
	w.systemd.SetApp(alice, lifecycletest.App{})
	return func() {
		switch e {
		case clean:
			close(exit)
		case stopped:
			w.systemd.StopUnit(alice)
		default:
			w.systemd.Crash(alice)
		}
	}
}

// late has an operation of systemd, or its hints, take d.
func (w *world) late(op string, d time.Duration) {
	w.systemd.SetLatency(func(o string) time.Duration {
		if o == op {
			return d
		}
		return 0
	})
}

func TestRestartPolicy(t *testing.T) {
	everyEnding(t, "", func(t *testing.T, w *world, policy string, e ending) {
		w.prepare(e)()
		time.Sleep(10 * time.Millisecond)
		want, restarts := e.next(policy)
		s := w.state(alice, want)
		if s.Restarts != restarts {
			t.Errorf("got %d restarts, want %d", s.Restarts, restarts)
		}
		if why, err := w.manager.Why(alice); err != nil || e == stopped && why.Rested != "stopped from outside" {
			t.Errorf("got rested %q, %v, want that it was stopped from outside", why.Rested, err)
		}
		if want == tenant.Failed {
			if reason := map[ending]string{crash: "the app ended: signal 9 (SIGKILL)", unseen: "the app was killed, or its end not seen"}[e]; s.Reason != reason {
				t.Errorf("got reason %q, want %q", s.Reason, reason)
			}
			_, err := w.request(alice)
			code(t, err, tenant.CodeFailed)
			if _, err := w.manager.Restart(t.Context(), alice); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.request(alice); err != nil {
			t.Error(err)
		}
		w.starts(alice, 2)
		// What was told to stop stays down.
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		w.state(alice, tenant.Asleep)
		w.starts(alice, 2)
	})
}

// A request that notices an end before the hint of it, or before a look, rings as one
// that waits at the doorbell does, so that no look can tell any more. It is served by the
// next process, unless there shall be none.
func TestEndThatARequestNoticesFirst(t *testing.T) {
	for _, slow := range []string{"hint", "list"} {
		t.Run("slow "+slow, func(t *testing.T) {
			everyEnding(t, "", func(t *testing.T, w *world, policy string, e ending) {
				end := w.prepare(e)
				w.late(slow, 50*time.Millisecond)
				endpoint, release := w.acquire(alice)
				defer release()
				end()
				synctest.Wait()
				got, err := exchange(t.Context(), endpoint)
				want, restarts := e.next(policy)
				if want == tenant.Failed {
					code(t, err, tenant.CodeFailed)
				} else {
					want = tenant.Awake
					if err != nil || got == "1" {
						t.Errorf("got run %q, %v, want the next", got, err)
					}
				}
				time.Sleep(time.Second)
				if s := w.state(alice, want); s.Restarts != restarts {
					t.Errorf("got %d restarts, want %d", s.Restarts, restarts)
				}
			})
		})
	}
}

// A health check that notices an end first asks for no next process.
func TestEndThatAHealthCheckNoticesFirst(t *testing.T) {
	everyEnding(t, "health = \"/up\"\n", func(t *testing.T, w *world, policy string, e ending) {
		end := w.prepare(e)
		w.systemd.SetLatency(func(op string) time.Duration {
			switch op {
			case "hint":
				return 500 * time.Millisecond
			case "list":
				return time.Minute
			}
			return 0
		})
		end()
		time.Sleep(3 * time.Minute)
		want, restarts := e.next(policy)
		if s := w.state(alice, want); s.Restarts != restarts {
			t.Errorf("got %d restarts, want %d", s.Restarts, restarts)
		}
	})
}

// An end of which nothing can be known is a failure.
func TestEndThatNoHintTells(t *testing.T) {
	bubble(t, notes("restart = \"on-failure\"\n"), func(t *testing.T, w *world) {
		end := w.prepare(clean)
		w.late("hint", time.Hour)
		endpoint, release := w.acquire(alice)
		defer release()
		end()
		synctest.Wait()
		if _, err := exchange(t.Context(), endpoint); err != nil {
			t.Error(err)
		}
		if s := w.state(alice, tenant.Awake); s.Restarts != 1 {
			t.Errorf("got %d restarts after a failure, want 1", s.Restarts)
		}
	})
}

// However often a request notices first, ends count as what they were.
func TestEndsThatRequestsNoticeFirst(t *testing.T) {
	for _, c := range []struct {
		policy string
		e      ending
		want   tenant.State // when it has happened more often than max_restarts
	}{
		{"on-failure", clean, tenant.Awake},
		{"never", clean, tenant.Awake},
		{"always", clean, tenant.Failed},
		{"on-failure", crash, tenant.Failed},
		{"on-failure", unseen, tenant.Failed},
	} {
		t.Run(fmt.Sprint(c.policy, " ", c.e), func(t *testing.T) {
			text := strings.Replace(notes("restart = \""+c.policy+"\"\n"), "[settings]\n", "[settings]\nmax_restarts = 3\nbackoff_base_ms = 10\n", 1)
			bubble(t, text, func(t *testing.T, w *world) {
				exits := make(chan chan struct{}, 1)
				app := func() lifecycletest.App {
					exit := make(chan struct{})
					exits <- exit
					return lifecycletest.App{Exit: exit, Unseen: c.e == unseen}
				}
				w.systemd.SetApp(alice, app())
				w.spawn(alice)
				w.late("hint", 50*time.Millisecond)
				for i := 0; i < 6 && w.get(alice).State == tenant.Awake; i++ {
					time.Sleep(time.Second)
					exit := <-exits
					w.systemd.SetApp(alice, app())
					endpoint, release := w.acquire(alice)
					if c.e == clean {
						close(exit)
					} else {
						w.systemd.Crash(alice)
					}
					synctest.Wait()
					if _, err := exchange(t.Context(), endpoint); err != nil && c.want == tenant.Awake {
						t.Errorf("end %d: %v", i+1, err)
					}
					release()
				}
				time.Sleep(time.Second)
				w.state(alice, c.want)
			})
		})
	}
}
