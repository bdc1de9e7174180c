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
		if _, _, ok := w.manager.AcquireAwake(id, tenant.Visit{}); ok {
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
	e, release, ok := w.manager.AcquireAwake(alice, tenant.Visit{})
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
