package lifecycle_test

import (
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

// A request that need not wait is counted like any other; one that would have to is left as if
// it had not come, and wakes nothing.
func TestAcquireAwake(t *testing.T) {
	bubble(t, notes("doze_timeout = 10\nidle_timeout = 60\nmax_in_flight = 2\n"), acquireAwake)
}

func acquireAwake(t *testing.T, w *world) {
	refused := func(id tenant.ID, why string) {
		t.Helper()
		if _, _, ok := w.manager.AcquireAwake(id, tenant.Visit{}, nil); ok {
			t.Errorf("%s: it is acquired", why)
		}
	}
	refused(alice, "unknown")
	w.register(alice)
	starts := w.systemd.Starts(alice)
	refused(alice, "asleep")
	w.starts(alice, starts)
	w.state(alice, tenant.Asleep)

	w.served(alice, starts+1)
	e, release, ok := w.manager.AcquireAwake(alice, tenant.Visit{}, nil)
	if !ok {
		t.Fatal("awake: it is not acquired")
	}
	_, second := w.acquire(alice)
	refused(alice, "two in flight")
	second()
	if got := w.get(alice).InFlight; got != 1 {
		t.Errorf("got %d in flight, want 1", got)
	}
	time.Sleep(2 * time.Minute) // a request in flight is no idleness
	w.state(alice, tenant.Awake)
	conn, err := e.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	release()
	time.Sleep(9 * time.Second) // nor is one that has just ended
	w.state(alice, tenant.Awake)
	time.Sleep(3 * time.Second)
	w.state(alice, tenant.Dozing)
	refused(alice, "dozing")
	w.state(alice, tenant.Dozing)
	w.served(alice, starts+1)

	if _, err := w.manager.Pause(t.Context(), alice, "", 0); err != nil {
		t.Fatal(err)
	}
	refused(alice, "paused")
}

// A lease is used again by whoever says that it may be, and only where it is that one's to use.
func TestAcquireAwakeAgain(t *testing.T) {
	bubble(t, notes("max_in_flight = 2\n"), acquireAwakeAgain)
}

func acquireAwakeAgain(t *testing.T, w *world) {
	for _, id := range []tenant.ID{alice, bob} {
		w.register(id)
		w.served(id, w.systemd.Starts(id)+1)
	}
	acquire := func(id tenant.ID, last tenant.Endpoint) (tenant.Endpoint, func()) {
		t.Helper()
		e, release, ok := w.manager.AcquireAwake(id, tenant.Visit{}, last)
		if !ok {
			t.Fatalf("%s is not acquired", id)
		}
		return e, release
	}
	inFlight := func(id tenant.ID, want int) {
		t.Helper()
		if got := w.get(id).InFlight; got != want {
			t.Errorf("%s: got %d in flight, want %d", id, got, want)
		}
	}
	first, release := acquire(alice, nil)
	second, also := acquire(alice, first)
	if second == first {
		t.Error("one whose request is in flight is given again")
	}
	inFlight(alice, 2)
	release()
	release() // counts once
	also()
	inFlight(alice, 0)

	again, release := acquire(alice, first)
	if again != first {
		t.Error("a spent one is not given again")
	}
	inFlight(alice, 1)
	other, others := acquire(bob, second)
	if other == second {
		t.Error("one of alice's is given for bob")
	}
	inFlight(bob, 1)
	release()
	others()
	inFlight(alice, 0)
	inFlight(bob, 0)

	// It is for the process that runs now, and for what is configured now.
	generation := again.Generation()
	if _, err := w.manager.Stop(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	w.served(alice, w.systemd.Starts(alice)+1)
	renewed, release := acquire(alice, again)
	if renewed.Generation() == generation {
		t.Error("it is for the process before")
	}
	release()
	w.manager.SetConfig(parse(t, notes("request_timeout = 7\n")))
	reloaded, release := acquire(alice, renewed)
	if got := reloaded.RequestTimeout(); got != 7*time.Second {
		t.Errorf("got a timeout of %v, want 7s", got)
	}
	release()
	if got := testing.AllocsPerRun(100, func() {
		_, release, _ := w.manager.AcquireAwake(alice, tenant.Visit{}, reloaded)
		release()
	}); got != 0 {
		t.Errorf("got %v allocations for each request", got)
	}
}
