package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
)

// full has alice hold the only place for starts, for as long as her startup_timeout is.
func (w *world) full() {
	w.t.Helper()
	w.systemd.SetApp(alice, lifecycletest.App{NeverReady: true})
	w.visit(w.t.Context(), alice, person)
	w.queued(0, 1)
}

// Who wants an instance down does not wait for its turn to start.
func TestQueuedStartGivesWay(t *testing.T) {
	ops := map[string]func(context.Context, *world) error{
		"stop":    func(ctx context.Context, w *world) error { _, err := w.manager.Stop(ctx, bob); return err },
		"destroy": func(ctx context.Context, w *world) error { return w.manager.Destroy(ctx, bob) },
		"restart": func(ctx context.Context, w *world) error { _, err := w.manager.Restart(ctx, bob); return err },
	}
	for name, op := range ops {
		for _, revival := range []bool{false, true} {
			tight(t, notes(""), func(t *testing.T, w *world, mem *memory) {
				w.spawn(alice, bob)
				_, release := w.acquire(alice)
				defer release()
				var end <-chan error
				if revival {
					mem.set("gone to the test")
					w.systemd.Crash(bob)
					// Once its turn has not come it goes on waiting for the next.
					time.Sleep(90 * time.Second)
				} else {
					if _, err := w.manager.Stop(t.Context(), bob); err != nil {
						t.Fatal(err)
					}
					mem.set("gone to the test")
					end = w.visit(t.Context(), bob, person)
				}
				w.queued(1, 0)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				err := op(ctx, w)
				if name == "restart" { // which begins with its wait for a place
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("restart: got %v, want that it waits", err)
					}
				} else if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if end != nil {
					err := <-end
					code(t, err, tenant.CodeUnavailable)
					if !strings.Contains(err.Error(), "told to stop") {
						t.Errorf("%s: the request got %v, want why", name, err)
					}
				}
				w.queued(0, 0)
				time.Sleep(5 * time.Minute)
				w.queued(0, 0)
				w.starts(bob, 1)
				if name != "destroy" {
					w.state(bob, tenant.Asleep)
				}
			})
		}
	}
}

// A sleeper that was queued and is not woken still counts among those with a doorbell.
func TestQueuedSleeperStaysCounted(t *testing.T) {
	text := strings.Replace(few(1, "startup_timeout = 1000"), "settings.data_dir", "settings.doorbells = 2\nsettings.data_dir", 1)
	bubble(t, text, func(t *testing.T, w *world) {
		c, d := tenant.ID{Service: "notes", Name: "c"}, tenant.ID{Service: "notes", Name: "d"}
		w.spawn(bob, c, d)
		stop := func(id tenant.ID) {
			if _, err := w.manager.Stop(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		w.register(alice)
		stop(bob)
		w.full()
		ctx, cancel := context.WithCancel(t.Context())
		end := w.visit(ctx, bob, person)
		w.queued(1, 1)
		stop(c)
		stop(d)
		synctest.Wait()
		cancel()
		code(t, <-end, tenant.CodeUnavailable)
		synctest.Wait()
		if got := w.systemd.Doorbells(); got != 3 {
			t.Errorf("got %d doorbells, want that of the one that starts and 2", got)
		}
	})
}

// A wake by hand that never begins leaves everything as it was: who has failed has
// failed, and who is to be started again will be.
func TestWakeByHandThatDoesNotBegin(t *testing.T) {
	wake := func(t *testing.T, w *world) {
		t.Helper()
		w.full()
		ctx, cancel := context.WithCancel(t.Context())
		end := make(chan error, 1)
		go func() { _, err := w.manager.Wake(ctx, bob); end <- err }()
		w.queued(1, 1)
		cancel()
		code(t, <-end, tenant.CodeUnavailable)
		w.queued(0, 1)
	}
	bubble(t, few(1, "restart = \"never\"\nstartup_timeout = 30"), func(t *testing.T, w *world) {
		w.register(alice)
		w.spawn(bob)
		w.systemd.Crash(bob)
		before := w.state(bob, tenant.Failed)
		wake(t, w)
		if s := w.state(bob, tenant.Failed); s.Reason != before.Reason {
			t.Errorf("got reason %q, want %q as before", s.Reason, before.Reason)
		}
		_, err := w.request(bob)
		code(t, err, tenant.CodeFailed)
		time.Sleep(time.Minute)
		if _, err := w.manager.Wake(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
		w.served(bob, 2)
	})
	text := strings.Replace(few(1, "startup_timeout = 30"), "settings.data_dir",
		"settings.backoff_base_ms = 60000\nsettings.backoff_max_ms = 60000\nsettings.data_dir", 1)
	bubble(t, text, func(t *testing.T, w *world) {
		w.register(alice)
		w.spawn(bob)
		w.systemd.Crash(bob)
		time.Sleep(time.Second)
		w.state(bob, tenant.Awake)
		w.systemd.Crash(bob)
		before := w.state(bob, tenant.Asleep)
		wake(t, w)
		time.Sleep(50 * time.Second)
		w.state(bob, tenant.Asleep)
		time.Sleep(11 * time.Second)
		if s := w.state(bob, tenant.Awake); s.Restarts != before.Restarts {
			t.Errorf("got %d restarts, want %d as before", s.Restarts, before.Restarts)
		}
	})
}

// Nothing is started for a request that has ended, nor for one of a kind that wakes nothing.
func TestNothingStartsForNobody(t *testing.T) {
	bubble(t, notes("restart = \"never\""), func(t *testing.T, w *world) {
		exit := make(chan struct{})
		w.systemd.SetApp(alice, lifecycletest.App{Exit: exit})
		w.spawn(alice)
		w.systemd.SetApp(alice, lifecycletest.App{})
		w.systemd.SetLatency(func(op string) time.Duration {
			return map[string]time.Duration{"hint": time.Second, "trigger": 100 * time.Millisecond}[op]
		})
		e, release := w.acquire(alice)
		close(exit)
		synctest.Wait()
		end := make(chan error, 1)
		go func() { _, err := exchange(t.Context(), e); end <- err }()
		time.Sleep(50 * time.Millisecond)
		release()
		if err := <-end; err == nil {
			t.Error("a request that has ended was served")
		}
		time.Sleep(time.Minute)
		w.state(alice, tenant.Asleep)
		w.starts(alice, 2) // what it had rung for
		w.active(alice, "inactive")
	})
	bubble(t, notes("no_wake = [\"head\"]"), func(t *testing.T, w *world) {
		w.spawn(alice)
		e, release, err := w.manager.Acquire(t.Context(), alice, head)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		var known *tenant.Error
		if got, err := exchange(t.Context(), e); err == nil || errors.As(err, &known) {
			t.Errorf("got run %q, %v, want that its connection is lost", got, err)
		}
		w.state(alice, tenant.Asleep)
		w.starts(alice, 1)
		w.served(alice, 2)
		if got, err := exchange(t.Context(), e); got != "2" || err != nil {
			t.Errorf("got run %q, %v, want 2, which runs anyway", got, err)
		}
	})
}

// Who wants an instance down need not wait for an app that hangs at its start, nor do
// those who wait for that: they hear of it. It is no failure.
func TestStopOfWhatHangsAtItsStart(t *testing.T) {
	for name, hang := range map[string]lifecycletest.App{
		"start": {NeverReady: true}, "doorbell": {Mute: true}, "health": {Unhealthy: true},
	} {
		for _, verb := range []string{"stop", "destroy", "restart"} {
			t.Run(name+" "+verb, func(t *testing.T) {
				bubble(t, notes("startup_timeout = 600\nhealth = \"/up\"\n"), func(t *testing.T, w *world) {
					w.register(alice)
					w.systemd.SetApp(alice, hang)
					end := w.visit(t.Context(), alice, person)
					time.Sleep(time.Second)
					w.state(alice, tenant.Waking)
					w.systemd.SetApp(alice, lifecycletest.App{})
					begun := time.Now()
					var err error
					switch verb {
					case "stop":
						_, err = w.manager.Stop(t.Context(), alice)
					case "restart":
						_, err = w.manager.Restart(t.Context(), alice)
					default:
						err = w.manager.Destroy(t.Context(), alice)
					}
					if took := time.Since(begun); err != nil || took > 5*time.Second {
						t.Errorf("got %v after %v, want it done at once", err, took)
					}
					if err := <-end; !strings.Contains(fmt.Sprint(err), "told to stop while it started") {
						t.Errorf("the request got %v, want why", err)
					}
					if verb == "destroy" {
						return
					}
					want := map[string]tenant.State{"stop": tenant.Asleep, "restart": tenant.Awake}[verb]
					if s := w.state(alice, want); s.Restarts != 0 || s.Reason != "" {
						t.Errorf("got %d restarts and reason %q, want no failure", s.Restarts, s.Reason)
					}
				})
			})
		}
	}
}

// Who wants an instance down need not wait for a thaw that hangs either.
func TestStopEndsAThaw(t *testing.T) {
	for name, stop := range map[string]func(w *world) error{
		"stop":    func(w *world) error { _, err := w.manager.Stop(w.t.Context(), alice); return err },
		"restart": func(w *world) error { _, err := w.manager.Restart(w.t.Context(), alice); return err },
		"destroy": func(w *world) error { return w.manager.Destroy(w.t.Context(), alice) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, notes("doze_timeout = 10"), func(t *testing.T, w *world) {
				w.systemd.SetApp(alice, lifecycletest.App{Stuck: true})
				w.spawn(alice)
				time.Sleep(11 * time.Second)
				w.state(alice, tenant.Dozing)
				w.systemd.SetApp(alice, lifecycletest.App{})
				held := make(chan error, 1)
				go func() {
					_, err := w.request(alice)
					held <- err
				}()
				w.state(alice, tenant.Waking)
				begun := time.Now()
				if err := stop(w); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); took > 2*time.Second {
					t.Errorf("it took %v, want no wait for the thaw", took)
				}
				code(t, <-held, tenant.CodeUnavailable)
				switch name {
				case "stop":
					w.state(alice, tenant.Asleep)
					w.active(alice, "inactive")
				case "restart":
					w.state(alice, tenant.Awake)
					w.starts(alice, 2)
				case "destroy":
					w.active(alice, "")
				}
			})
		})
	}
}
