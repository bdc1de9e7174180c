package lifecycle_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

func TestIdleInstanceDozesThenSleeps(t *testing.T) {
	bubble(t, notes("doze_timeout = 10\nidle_timeout = 60"), func(t *testing.T, w *world) {
		w.spawn(alice)
		_, release := w.acquire(alice)
		time.Sleep(3 * time.Second)
		release()
		// From the end of the request on, exactly.
		time.Sleep(10*time.Second - time.Millisecond)
		w.state(alice, tenant.Awake)
		time.Sleep(time.Millisecond)
		w.state(alice, tenant.Dozing)
		w.active(alice, "frozen")
		time.Sleep(50*time.Second - time.Millisecond)
		w.state(alice, tenant.Dozing)
		time.Sleep(time.Millisecond)
		if s := w.state(alice, tenant.Asleep); s.Reason != "" {
			t.Errorf("got reason %q for idleness, want none", s.Reason)
		}
		w.active(alice, "inactive")
		w.served(alice, 2)
	})
}

func TestThawKeepsTheProcess(t *testing.T) {
	bubble(t, notes("doze_timeout = 10"), func(t *testing.T, w *world) {
		w.spawn(alice)
		for i := range 3 {
			time.Sleep(11 * time.Second)
			w.state(alice, tenant.Dozing)
			e, release := w.acquire(alice)
			if woke := e.Woke(); woke == nil || woke.Kind != tenant.WakeDoze {
				t.Errorf("got wake %+v, want one from doze", woke)
			}
			if got, err := exchange(t.Context(), e); got != "1" || err != nil {
				t.Errorf("got run %q, %v, want 1", got, err)
			}
			release()
			if s := w.state(alice, tenant.Awake); s.Thaws != int64(i+1) || s.Wakes != 1 {
				t.Errorf("got %d thaws and %d wakes, want %d and 1", s.Thaws, s.Wakes, i+1)
			}
		}
	})
}

func TestNoTimeoutMeansNever(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(alice)
		time.Sleep(1000 * time.Hour)
		w.state(alice, tenant.Awake)
		w.served(alice, 1)
	})
}

func TestRequestInFlightIsNeverCut(t *testing.T) {
	bubble(t, notes("doze_timeout = 1\nidle_timeout = 2"), func(t *testing.T, w *world) {
		w.spawn(alice)
		_, release := w.acquire(alice)
		time.Sleep(time.Hour)
		if s := w.state(alice, tenant.Awake); s.LastActive != time.Now() {
			t.Errorf("got last activity %v, want now", s.LastActive)
		}
		w.served(alice, 1)
		release()
		release() // a second time changes nothing
		if s := w.state(alice, tenant.Awake); s.InFlight != 0 {
			t.Errorf("got %d in flight, want 0", s.InFlight)
		}
		time.Sleep(2 * time.Second)
		w.state(alice, tenant.Asleep)
	})
}

func TestPassiveStreamDoesNotKeepAwake(t *testing.T) {
	bubble(t, notes("doze_timeout = 10\nidle_timeout = 60"), func(t *testing.T, w *world) {
		w.spawn(alice)
		e, release := w.acquire(alice)
		touch := e.Stream()
		if s := w.state(alice, tenant.Awake); s.InFlight != 1 {
			t.Errorf("got %d in flight, want the stream", s.InFlight)
		}
		for range 20 { // traffic keeps it awake
			time.Sleep(9 * time.Second)
			if err := touch(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s := w.state(alice, tenant.Awake); s.Thaws != 0 {
				t.Fatal("it dozed between two touches")
			}
		}
		time.Sleep(10 * time.Second)
		w.state(alice, tenant.Dozing)
		if err := touch(t.Context()); err != nil { // and thaws it
			t.Fatal(err)
		}
		w.state(alice, tenant.Awake)
		w.active(alice, "active")
		time.Sleep(60 * time.Second)
		w.state(alice, tenant.Stopping)
		<-e.Ending() // the proxy closes it then
		if err := touch(t.Context()); err != nil {
			t.Fatal(err)
		}
		release()
		w.state(alice, tenant.Asleep)
		w.starts(alice, 1)
		if s := w.state(alice, tenant.Asleep); s.InFlight != 0 {
			t.Errorf("got %d in flight, want 0", s.InFlight)
		}
	})
}

func TestStreamsTouchDuringADoze(t *testing.T) {
	bubble(t, notes("doze_timeout = 10"), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Freeze: time.Second})
		w.spawn(alice)
		e, release := w.acquire(alice)
		defer release()
		touch := e.Stream()
		time.Sleep(10*time.Second + 500*time.Millisecond)
		w.state(alice, tenant.Dozing)
		if err := touch(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.state(alice, tenant.Awake)
		w.active(alice, "active")
	})
}

func TestGenerationChangesOverADoze(t *testing.T) {
	bubble(t, notes("doze_timeout = 10"), func(t *testing.T, w *world) {
		w.spawn(alice)
		e, release := w.acquire(alice)
		defer release()
		e.Stream()
		before := e.Generation()
		if again := e.Generation(); again != before {
			t.Errorf("got generation %d then %d while nothing happened", before, again)
		}
		time.Sleep(11 * time.Second)
		w.served(alice, 1)
		if e.Generation() == before {
			t.Error("got the same generation after a doze")
		}
	})
}

func TestWhatCannotDozeStaysAwakeAndSleeps(t *testing.T) {
	bubble(t, notes("doze_timeout = 10\nidle_timeout = 60"), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{CannotFreeze: true})
		w.spawn(alice)
		time.Sleep(60*time.Second - 2*time.Millisecond)
		w.state(alice, tenant.Awake)
		time.Sleep(2 * time.Millisecond)
		w.state(alice, tenant.Asleep)
	})
}

// A stop that fails is tried again, at a measured pace, and the instance serves on.
func TestStopThatFails(t *testing.T) {
	bubble(t, notes("idle_timeout = 10"), func(t *testing.T, w *world) {
		w.spawn(alice)
		for range 3 {
			w.systemd.Fail("stop", errors.New("bus is busy"))
		}
		time.Sleep(11 * time.Second)
		w.state(alice, tenant.Awake)
		w.served(alice, 1)
		time.Sleep(time.Minute)
		w.state(alice, tenant.Asleep)
	})
}

func TestStopThatHangs(t *testing.T) {
	bubble(t, notes("idle_timeout = 10\nstop_grace = 5"), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.systemd.Hang("stop")
		time.Sleep(11 * time.Second)
		w.state(alice, tenant.Stopping)
		begun := time.Now()
		w.served(alice, 1) // when the wait for the stop is over
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("the request took %v", took)
		}
		time.Sleep(time.Minute)
		w.state(alice, tenant.Asleep)
	})
}

// The app dies in the moment in which it is to doze, and the hint of it comes during
// the operation.
func TestCrashDuringADoze(t *testing.T) {
	bubble(t, notes("doze_timeout = 10"), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Freeze: time.Second})
		w.spawn(alice)
		time.Sleep(10*time.Second + 500*time.Millisecond)
		w.state(alice, tenant.Dozing)
		w.systemd.Crash(alice)
		time.Sleep(time.Second)
		w.state(alice, tenant.Awake) // it is started again
		w.starts(alice, 2)
	})
}

func TestCrashWhileDozing(t *testing.T) {
	bubble(t, notes("doze_timeout = 10"), func(t *testing.T, w *world) {
		w.spawn(alice)
		time.Sleep(11 * time.Second)
		w.systemd.Crash(alice)
		s := w.state(alice, tenant.Asleep)
		if s.Reason != "the app ended: signal 9 (SIGKILL)" {
			t.Errorf("got reason %q, want the signal", s.Reason)
		}
		w.served(alice, 2)
	})
}

func TestCrashWhileAwake(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Ready: time.Second, Serve: time.Second})
		w.spawn(alice)
		e, release := w.acquire(alice)
		defer release()
		w.systemd.Crash(alice)
		// A request that was admitted before is connected to the next process.
		if got, err := exchange(t.Context(), e); err != nil || got != "2" {
			t.Errorf("got run %q, %v, want 2", got, err)
		}
		w.state(alice, tenant.Awake)
		w.systemd.Crash(alice)
		w.state(alice, tenant.Asleep)
		w.served(alice, 3)
	})
}

// A crash whose hint is lost is found by looking, within half a minute.
func TestLostHint(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.systemd.SetLatency(func(op string) time.Duration {
			if op == "hint" {
				return time.Hour
			}
			return 0
		})
		w.systemd.Hint(units.Status{ID: bob, Active: "active"}) // holds up those behind it
		w.systemd.Crash(alice)
		w.state(alice, tenant.Awake)
		time.Sleep(31 * time.Second)
		w.state(alice, tenant.Awake)
		w.starts(alice, 2)
	})
}

// One that was not frozen in time dozes later.
func TestDozeThatTakesTooLong(t *testing.T) {
	bubble(t, notes("doze_timeout = 20\n"), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Unfrozen: true})
		w.spawn(alice)
		time.Sleep(21 * time.Second)
		w.state(alice, tenant.Awake)
		w.systemd.SetApp(alice, lifecycletest.App{})
		time.Sleep(58 * time.Second)
		w.state(alice, tenant.Awake)
		time.Sleep(2 * time.Second)
		w.state(alice, tenant.Dozing)
	})
}

// That one process could not be frozen says nothing of the next.
func TestDozeOfTheNextProcess(t *testing.T) {
	bubble(t, notes("doze_timeout = 20\n"), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{CannotFreeze: true})
		w.spawn(alice)
		time.Sleep(time.Hour)
		w.state(alice, tenant.Awake)
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.systemd.SetApp(alice, lifecycletest.App{})
		w.served(alice, 2)
		time.Sleep(21 * time.Second)
		w.state(alice, tenant.Dozing)
	})
}

// Operators doze what nothing holds, with or without a doze_timeout, and what is refused goes on.
func TestDozeByHand(t *testing.T) {
	bubble(t, notes("idle_timeout = 60"), func(t *testing.T, w *world) {
		doze := func(want tenant.Code, says string) {
			t.Helper()
			_, err := w.manager.Doze(t.Context(), alice)
			if got := tenant.CodeOf(err); got != want || err != nil && !strings.Contains(err.Error(), says) {
				t.Errorf("got %q, %v, want %q with %q", got, err, want, says)
			}
		}
		doze(tenant.CodeNotFound, "no instance")
		w.register(alice)
		doze(tenant.CodeConflict, "is asleep")
		w.spawn(alice)
		e, release := w.acquire(alice)
		doze(tenant.CodeConflict, "1 request in flight")
		touch := e.Stream()
		if err := touch(t.Context()); err != nil {
			t.Fatal(err)
		}
		doze(tenant.CodeConflict, "1 stream with traffic")
		release()
		if _, err := w.manager.KeepAwake(t.Context(), alice, time.Minute); err != nil {
			t.Fatal(err)
		}
		doze(tenant.CodeConflict, "lease of the operator")
		if _, err := w.manager.KeepAwake(t.Context(), alice, 0); err != nil {
			t.Fatal(err)
		}
		w.state(alice, tenant.Awake)
		doze("", "")
		w.state(alice, tenant.Dozing)
		w.active(alice, "frozen")
		doze("", "") // it does already
		w.served(alice, 2)
		w.state(alice, tenant.Awake)
		doze("", "")
		time.Sleep(61 * time.Second)
		w.state(alice, tenant.Asleep)

		w.systemd.SetApp(alice, lifecycletest.App{CannotFreeze: true})
		w.served(alice, 3)
		doze(tenant.CodeUnsupported, "cannot doze")
		doze(tenant.CodeUnsupported, "cannot doze") // that is known now
		w.state(alice, tenant.Awake)
	})
}
