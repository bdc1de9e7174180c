package lifecycle_test

import (
	"errors"
	"testing"
	"time"

	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
)

var head = tenant.Visit{Kinds: tenant.KindHead | tenant.KindUptime}

// unwoken checks that a visit of the kind head finds an instance at rest.
func (w *world) unwoken(id tenant.ID, want tenant.State) {
	w.t.Helper()
	_, _, err := w.manager.Acquire(w.t.Context(), id, head)
	var u *tenant.Unwoken
	if !errors.As(err, &u) || u.ID != id || u.Kind != tenant.KindHead || u.State != want {
		w.t.Fatalf("got %v, want that %s is %s", err, id, want)
	}
}

func TestWhatDoesNotWakeNeverDisturbs(t *testing.T) {
	bubble(t, notes("no_wake = [\"head\"]\ndoze_timeout = 10\nidle_timeout = 25"), func(t *testing.T, w *world) {
		w.register(alice)
		w.unwoken(alice, tenant.Asleep)
		w.starts(alice, 1)
		w.served(alice, 2)
		// Awake it answers, and is not kept awake by that.
		for range 2 {
			time.Sleep(4 * time.Second)
			e, release, err := w.manager.Acquire(t.Context(), alice, head)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := exchange(t.Context(), e); got != "2" || err != nil {
				t.Errorf("got run %q, %v, want 2", got, err)
			}
			release()
		}
		time.Sleep(3 * time.Second)
		w.state(alice, tenant.Dozing)
		w.unwoken(alice, tenant.Dozing)
		w.active(alice, "frozen")
		time.Sleep(15 * time.Second)
		s := w.state(alice, tenant.Asleep)
		if s.Unwoken["head"] != 2 || len(s.Unwoken) != 1 || s.InFlight != 0 {
			t.Errorf("got counts %v and %d in flight, want head: 2 and none", s.Unwoken, s.InFlight)
		}
		// Of another kind it is a request as any other.
		_, release, err := w.manager.Acquire(t.Context(), alice, tenant.Visit{Kinds: tenant.KindUptime})
		if err != nil {
			t.Fatal(err)
		}
		release()
		w.starts(alice, 3)
	})
}

// A monitor must see that an app does not start.
func TestFailedInstanceIsNotCalledAsleep(t *testing.T) {
	bubble(t, notes("no_wake = [\"head\"]"), func(t *testing.T, w *world) {
		w.register(alice)
		w.systemd.SetApp(alice, lifecycletest.App{Refusal: exits})
		_, err := w.request(alice)
		code(t, err, tenant.CodeStartFailed)
		_, _, err = w.manager.Acquire(t.Context(), alice, head)
		code(t, err, tenant.CodeStartFailed)
		time.Sleep(10 * time.Minute) // and also the next daemon tells it
		w.stop()
		w.start(parse(t, notes("no_wake = [\"head\"]")))
		<-w.manager.Ready()
		_, _, err = w.manager.Acquire(t.Context(), alice, head)
		code(t, err, tenant.CodeStartFailed)
	})
}

func TestWhatDoesNotWakeDoesNotCreate(t *testing.T) {
	bubble(t, notes("no_wake = [\"head\"]\non_demand = true\nmax_instances = 5"), func(t *testing.T, w *world) {
		_, _, err := w.manager.Acquire(t.Context(), alice, head)
		code(t, err, tenant.CodeNotFound)
		if len(w.manager.List()) != 0 {
			t.Error("an instance was created")
		}
		w.served(alice, 1)
	})
}
