package lifecycle_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// A new daemon finds instances in every state and takes each over as it is.
func TestNewManagerAdopts(t *testing.T) {
	text := notes("doze_timeout = 10\nidle_timeout = 60")
	id := func(name string) tenant.ID { return tenant.ID{Service: "notes", Name: name} }
	bubble(t, text, func(t *testing.T, w *world) {
		w.spawn(id("dozing"))
		w.spawn(id("stopping"))
		time.Sleep(15 * time.Second)
		w.spawn(id("awake"))
		w.register(id("sleeping"))
		w.systemd.SetApp(id("starting"), lifecycletest.App{Ready: 5 * time.Second})
		go w.request(id("starting"))
		_, _, err := w.manager.Spawn(shortly(t), id("starting"))
		code(t, err, tenant.CodeUnavailable)
		w.state(id("starting"), tenant.Waking)
		w.stop()
		w.systemd.SetApp(id("stopping"), lifecycletest.App{Stop: 3 * time.Second})
		w.systemd.StopUnit(id("stopping"))

		w.start(parse(t, text))
		<-w.manager.Ready()
		w.state(id("awake"), tenant.Awake)
		w.state(id("dozing"), tenant.Dozing)
		w.active(id("dozing"), "frozen")
		w.state(id("starting"), tenant.Waking)
		w.state(id("sleeping"), tenant.Asleep)
		w.active(id("sleeping"), "") // its units are of an earlier configuration
		w.served(id("awake"), 1)
		w.served(id("dozing"), 1)
		w.served(id("starting"), 1)
		w.served(id("sleeping"), 2)
		w.served(id("stopping"), 2)
	})
}

// The idle time goes on over restarts of the daemon, and so do since when and by what the
// instance is awake or dozes.
func TestAdoptedInstanceGoesOn(t *testing.T) {
	text := notes("doze_timeout = 10\nidle_timeout = 60")
	bubble(t, text, func(t *testing.T, w *world) {
		w.spawn(alice)
		woke := *w.get(alice).LastWake
		begun := w.get(alice).Since
		time.Sleep(5 * time.Second)
		w.stop()
		time.Sleep(2 * time.Second) // there is no daemon
		w.restart(parse(t, text))
		why := w.why(alice, tenant.Awake)
		if !why.Since.Equal(begun) || why.WokenBy != tenant.CauseOperator || !why.WokenAt.Equal(woke.At) {
			t.Errorf("got it awake since %v, woken by %q at %v, want %v, an operator at %v", why.Since, why.WokenBy, why.WokenAt, begun, woke.At)
		}
		if got := why.LastWake; got == nil || got.Total != woke.Total || !got.At.Equal(woke.At) || got.Cause != woke.Cause {
			t.Errorf("last wake: got %+v, want %+v", got, woke)
		}
		time.Sleep(time.Until(begun.Add(10*time.Second - time.Millisecond)))
		w.state(alice, tenant.Awake)
		time.Sleep(3 * time.Second) // its use of the CPU was looked at when it was adopted, and is once more
		w.state(alice, tenant.Dozing)
		dozed := w.get(alice).Since
		time.Sleep(time.Second)
		w.restart(parse(t, text))
		if why := w.why(alice, tenant.Dozing); !why.Since.Equal(dozed) || why.WokenBy != tenant.CauseOperator {
			t.Errorf("got it dozing since %v, woken by %q, want %v, operator", why.Since, why.WokenBy, dozed)
		}
		time.Sleep(time.Until(begun.Add(60*time.Second - time.Millisecond)))
		w.state(alice, tenant.Dozing)
		time.Sleep(time.Second)
		w.state(alice, tenant.Asleep)
		w.starts(alice, 1)
		if why := w.why(alice, tenant.Asleep); why.WokenBy != tenant.CauseOperator || why.LastWake == nil {
			t.Errorf("asleep: got it woken last by %q, %v, want an operator", why.WokenBy, why.LastWake)
		}
	})
}

// What an earlier daemon has left of processes is remembered only where there may be one: of very
// many, most sleep, and since when and why they do is known without it.
func TestNothingIsRememberedOfSleepers(t *testing.T) {
	text := strings.Replace(notes("idle_timeout = 60"), "settings]\n", "settings]\ndoorbells = 0\n", 1)
	bubble(t, text, func(t *testing.T, w *world) {
		w.spawn(alice)
		time.Sleep(2 * time.Minute)
		slept := w.why(alice, tenant.Asleep)
		w.stop()
		w.start(parse(t, text))
		<-w.manager.Ready()
		if w.manager.Remembers(alice) {
			t.Error("a sleeper without units is remembered")
		}
		if why := w.why(alice, tenant.Asleep); !why.Since.Equal(slept.Since) || why.Rested != slept.Rested || why.Rested == "" {
			t.Errorf("got it asleep since %v, %q, want %v, %q", why.Since, why.Rested, slept.Since, slept.Rested)
		}
	})
}

// A daemon that is killed has not saved the latest requests: what is not known makes nobody
// rest sooner than promised.
func TestAdoptedFromAKilledDaemon(t *testing.T) {
	text := notes("doze_timeout = 10\nidle_timeout = 60")
	bubble(t, text, func(t *testing.T, w *world) {
		w.spawn(alice)
		begun := w.get(alice).Since
		time.Sleep(8 * time.Second)
		w.store.fail("save", errors.New("killed"))
		w.store.fail("leave", errors.New("killed"))
		w.served(alice, 1)
		active := time.Now()
		w.spawn(bob)
		w.stop()
		w.store.fail("save", nil)
		w.store.fail("leave", nil)
		time.Sleep(time.Second)
		w.start(parse(t, text))
		<-w.manager.Ready()
		if why := w.why(alice, tenant.Awake); !why.Since.Equal(begun) || why.WokenBy != tenant.CauseOperator {
			t.Errorf("got it awake since %v, woken by %q, want %v, operator", why.Since, why.WokenBy, begun)
		}
		// What is saved of bob is of no process, or of an earlier one.
		if why := w.why(bob, tenant.Awake); why.WokenBy != tenant.CauseAdopted || why.Since.Before(active.Add(-time.Second)) {
			t.Errorf("not saved: got it awake since %v, woken by %q, want it adopted", why.Since, why.WokenBy)
		}
		time.Sleep(time.Until(active.Add(10*time.Second - time.Millisecond)))
		w.state(alice, tenant.Awake)
		w.state(bob, tenant.Awake)
		time.Sleep(2 * time.Second)
		w.state(alice, tenant.Dozing)
		w.state(bob, tenant.Dozing)
		// Killed again before anything else is saved: the one before left in no order.
		w.store.fail("leave", errors.New("killed"))
		w.restart(parse(t, text))
		w.store.fail("leave", nil)
		time.Sleep(59 * time.Second)
		w.state(alice, tenant.Dozing)
		time.Sleep(2 * time.Second)
		w.state(alice, tenant.Asleep)
		w.starts(alice, 1)
	})
}

// A request in flight when the daemon ends was the latest activity.
func TestActivityOfARequestThatTheDaemonsEndCuts(t *testing.T) {
	text := notes("doze_timeout = 10")
	bubble(t, text, func(t *testing.T, w *world) {
		w.spawn(alice)
		_, release, err := w.manager.Acquire(t.Context(), alice, tenant.Visit{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.restart(parse(t, text))
		release()
		begun := time.Now()
		time.Sleep(10*time.Second - time.Millisecond)
		w.state(alice, tenant.Awake)
		time.Sleep(time.Second)
		w.state(alice, tenant.Dozing)
		if got := w.get(alice).Since; got.Before(begun.Add(10 * time.Second)) {
			t.Errorf("got it dozing since %v, %v after the restart", got, got.Sub(begun))
		}
	})
}

// One instance that resists must not keep the daemon from starting.
func TestRecoveryIsNotHeldUp(t *testing.T) {
	for _, mute := range []bool{false, true} {
		t.Run(fmt.Sprint("mute ", mute), func(t *testing.T) {
			bubble(t, notes(""), func(t *testing.T, w *world) {
				w.register(alice)
				w.spawn(bob)
				w.systemd.SetApp(bob, lifecycletest.App{Mute: true})
				if mute {
					w.systemd.Crash(bob)
					time.Sleep(time.Second)
					w.systemd.Start(bob)
					time.Sleep(time.Second)
				}
				w.stop()
				w.systemd.Fail("unload", errors.New("bus is busy"))
				begun := time.Now()
				w.start(parse(t, notes("")))
				<-w.manager.Ready()
				since(t, begun, 0)
				w.served(alice, 2)
				time.Sleep(time.Minute)
				// One that answers nobody is not awake, whatever its unit says.
				want := tenant.Awake
				if mute {
					want = tenant.Asleep
				}
				w.state(bob, want)
			})
		})
	}
}

// A unit that runs although its instance was given up is no longer failed, for good.
func TestAdoptionReleasesTheBrake(t *testing.T) {
	text := "[settings]\nmax_restarts = 0\n[service.notes]\ncommand = \"/bin/true\"\nlisten = \"unix\"\nidle_timeout = 5\n"
	bubble(t, text, func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Refusal: exits})
		_, _, err := w.manager.Spawn(t.Context(), alice)
		code(t, err, tenant.CodeStartFailed)
		w.state(alice, tenant.Failed)
		w.systemd.SetApp(alice, lifecycletest.App{})
		time.Sleep(time.Second)
		w.systemd.Start(alice)
		time.Sleep(time.Second)
		w.state(alice, tenant.Awake)
		time.Sleep(10 * time.Second)
		w.state(alice, tenant.Asleep)
		if _, err := w.request(alice); err != nil {
			t.Errorf("request after the sleep: %v", err)
		}
	})
}

// A look at an instance that has failed and is still ending changes nothing about it.
func TestFailedStaysFailed(t *testing.T) {
	text := "[settings]\nmax_restarts = 0\n[service.notes]\ncommand = \"/bin/true\"\nlisten = \"unix\"\nstartup_timeout = 1\n"
	bubble(t, text, func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{NeverReady: true, Stop: 5 * time.Second})
		_, _, err := w.manager.Spawn(t.Context(), alice)
		code(t, err, tenant.CodeStartTimeout)
		want := w.state(alice, tenant.Failed).Reason
		w.systemd.StopUnit(alice)
		w.systemd.Hint(units.Status{})
		w.state(alice, tenant.Failed)
		time.Sleep(time.Minute)
		if s := w.state(alice, tenant.Failed); s.Reason != want || want == "" {
			t.Errorf("got reason %q, want %q as before", s.Reason, want)
		}
	})
}

// No hint is believed: neither late, nor twice, nor false ones change anything.
func TestFalseHintsChangeNothing(t *testing.T) {
	states := []string{"inactive", "failed", "activating", "active", "deactivating", "nonsense"}
	flood := func(w *world, id tenant.ID) {
		for range 2 { // a third "failed" would be taken for a unit that cannot start
			for _, s := range states {
				w.systemd.Hint(units.Status{ID: id, Active: s})
				w.systemd.Hint(units.Status{})
				w.systemd.Hint(units.Status{ID: tenant.ID{Service: "no", Name: "body"}, Active: s})
			}
		}
	}
	bubble(t, notes("doze_timeout = 10"), func(t *testing.T, w *world) {
		w.register(bob)
		w.systemd.SetApp(alice, lifecycletest.App{Ready: time.Second, Freeze: time.Second, Stop: time.Second})
		w.spawn(alice)
		flood(w, alice)
		flood(w, bob)
		w.state(alice, tenant.Awake)
		w.state(bob, tenant.Asleep)
		time.Sleep(10*time.Second + 500*time.Millisecond)
		flood(w, alice) // during the doze
		w.state(alice, tenant.Dozing)
		time.Sleep(time.Second)
		flood(w, alice)
		w.state(alice, tenant.Dozing)
		w.active(alice, "frozen")
		go w.manager.Stop(t.Context(), alice)
		time.Sleep(500 * time.Millisecond)
		flood(w, alice) // during the stop
		time.Sleep(time.Second)
		flood(w, alice)
		w.state(alice, tenant.Asleep)
		w.starts(alice, 1)
		go w.request(alice)
		time.Sleep(500 * time.Millisecond)
		flood(w, alice) // during the wake: a look finds no failure
		time.Sleep(time.Second)
		w.state(alice, tenant.Awake)
		w.starts(alice, 2)
		w.starts(bob, 1)
	})
}

func TestStoppedFromOutside(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Stop: time.Second})
		w.spawn(alice)
		w.systemd.StopUnit(alice)
		w.state(alice, tenant.Stopping)
		time.Sleep(2 * time.Second)
		w.state(alice, tenant.Asleep)
		w.systemd.Start(alice)
		time.Sleep(time.Second)
		w.state(alice, tenant.Awake)
		w.served(alice, 2)
	})
}

// A listing that fails is no news.
func TestListThatFails(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(alice)
		for range 10 {
			w.systemd.Fail("list", errors.New("bus is busy"))
		}
		w.systemd.Hint(units.Status{})
		w.systemd.Hint(units.Status{ID: alice, Active: "failed"})
		w.state(alice, tenant.Awake)
		time.Sleep(10 * time.Minute)
		w.served(alice, 1)
	})
}

func TestNewConfigIsForTheNextStart(t *testing.T) {
	bubble(t, notes("idle_timeout = 60"), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.register(bob)
		before := w.systemd.Spec(alice).Fingerprint()
		w.manager.SetConfig(parse(t, notes("idle_timeout = 10\nargs = [\"new\"]")))
		w.served(alice, 1)
		if w.systemd.Spec(alice).Fingerprint() != before {
			t.Error("the units of a running instance were changed")
		}
		time.Sleep(10 * time.Second) // idleness is judged by the new one
		w.state(alice, tenant.Asleep)
		for _, id := range []tenant.ID{alice, bob} {
			w.served(id, 2)
			if got := w.systemd.Spec(id).Argv; len(got) != 2 || got[1] != "new" {
				t.Errorf("%s: got argv %q, want the new one", id, got)
			}
		}
		// A service that has gone serves no more, and what it left runs on.
		w.manager.SetConfig(parse(t, "[service.other]\ncommand = \"/bin/true\"\n"))
		_, err := w.request(alice)
		code(t, err, tenant.CodeNotFound)
		w.state(alice, tenant.Awake)
		if err := w.manager.Destroy(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
	})
}

// The daemon ends while instances start, doze and stop: nothing hangs, nothing is
// killed, and whoever waits is told.
func TestShutdownLeavesInstancesAlone(t *testing.T) {
	text := notes("doze_timeout = 10")
	bubble(t, text, func(t *testing.T, w *world) {
		w.systemd.SetApp(tenant.ID{}, lifecycletest.App{Ready: 5 * time.Second, Freeze: time.Second})
		w.spawn(alice)
		time.Sleep(10*time.Second + 500*time.Millisecond)
		w.state(alice, tenant.Dozing)
		failed := make(chan error, 5)
		for range cap(failed) {
			go func() {
				_, _, err := w.manager.Spawn(t.Context(), bob)
				failed <- err
			}()
		}
		w.state(bob, tenant.Waking)
		begun := time.Now()
		w.stop()
		since(t, begun, 0)
		for range cap(failed) {
			if err := <-failed; err == nil {
				t.Error("a wake ended well although the daemon stopped during it")
			}
		}
		time.Sleep(time.Minute)
		w.active(bob, "active")
		w.active(alice, "frozen")
		w.starts(bob, 1)
		w.restart(parse(t, text))
		w.served(bob, 1)
		w.served(alice, 1)
	})
}

func TestActivityIsSaved(t *testing.T) {
	bubble(t, notes("idle_timeout = 10"), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.served(alice, 1)
		last := time.Now()
		time.Sleep(30 * time.Second)
		if row, _ := w.store.row(alice); row.Wakes != 1 || !row.LastActive.Equal(last) {
			t.Errorf("after 30s: got %+v, want 1 wake and last activity %v", row, last)
		}
		w.store.fail("save", errors.New("disk is full"))
		w.served(alice, 2)
		w.stop() // the save at the end fails too, once
		w.start(parse(t, notes("")))
		<-w.manager.Ready()
		if s := w.state(alice, tenant.Awake); s.Wakes != 1 {
			t.Errorf("got %d wakes, want those that were saved", s.Wakes)
		}
	})
}

func TestSaveThatFailsIsRepeated(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.store.fail("save", errors.New("disk is full"))
		time.Sleep(5 * time.Second)
		if row, _ := w.store.row(alice); row.Wakes != 0 {
			t.Fatalf("got %+v, want nothing saved yet", row)
		}
		time.Sleep(5 * time.Second)
		if row, _ := w.store.row(alice); row.Wakes != 1 {
			t.Errorf("got %+v, want 1 wake", row)
		}
	})
}

func TestCountsSurviveTheDaemon(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.stop()
		w.store.mu.Lock()
		w.store.rows[alice] = registry.Instance{ID: alice, Wakes: 7, LastActive: time.Now()}
		w.store.mu.Unlock()
		w.start(parse(t, notes("")))
		<-w.manager.Ready()
		if s := w.state(alice, tenant.Asleep); s.Wakes != 7 {
			t.Errorf("got %d wakes, want 7", s.Wakes)
		}
	})
}

// What the kernel kills for want of memory is said to have been, however soon it is
// noticed; it counts as a failure.
func TestOutOfMemoryIsSaid(t *testing.T) {
	for _, late := range []time.Duration{0, 2 * time.Second} {
		t.Run(late.String(), func(t *testing.T) {
			bubble(t, notes("restart = \"never\"\n"), func(t *testing.T, w *world) {
				w.systemd.SetApp(alice, lifecycletest.App{Stop: time.Second})
				w.spawn(alice)
				w.systemd.SetLatency(func(op string) time.Duration {
					if op == "hint" {
						return late
					}
					return 0
				})
				w.systemd.OutOfMemory(alice)
				time.Sleep(5 * time.Second)
				if got, want := w.state(alice, tenant.Failed).Reason, "the app ended: out of memory (oom-kill)"; got != want {
					t.Errorf("reason: got %q, want %q", got, want)
				}
				if _, err := w.manager.Restart(t.Context(), alice); err != nil {
					t.Fatal(err)
				}
				w.served(alice, 2)
				if got := w.state(alice, tenant.Awake).Reason; got != "" {
					t.Errorf("awake again: got reason %q, want none", got)
				}
			})
		})
	}
}

func TestOutOfMemoryAtTheStart(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice)
		w.systemd.SetApp(alice, lifecycletest.App{Refusal: &ingress.Refusal{Class: ingress.ClassMemory, Text: "out of memory"}})
		before := w.systemd.Starts(alice)
		_, err := w.request(alice)
		code(t, err, tenant.CodeStartFailed)
		want := "the app ended: out of memory (oom-kill) before it accepted a connection"
		if got := w.state(alice, tenant.Asleep).Reason; got != want {
			t.Errorf("reason: got %q, want %q", got, want)
		}
		w.starts(alice, before+1)
	})
}

// Where systemd does not answer a daemon that starts, nobody waits for it for ever, and it
// goes on when systemd does.
func TestSystemdIsSilentAtTheStart(t *testing.T) {
	text := notes("")
	bubble(t, text, func(t *testing.T, w *world) {
		w.spawn(alice)
		w.stop()
		w.systemd.Hang("list")
		w.systemd.Hang("list")
		w.start(parse(t, text))
		begun := time.Now()
		_, _, err := w.manager.Acquire(t.Context(), alice, tenant.Visit{})
		if tenant.CodeOf(err) != tenant.CodeUnavailable || time.Since(begun) > time.Minute {
			t.Errorf("a request: got %v after %v, want it refused within a minute", err, time.Since(begun))
		}
		<-w.manager.Ready()
		w.state(alice, tenant.Awake)
		w.served(alice, 1)
	})
}
