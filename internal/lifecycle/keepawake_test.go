package lifecycle_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
)

const hour = time.Hour

func TestLeaseOfTheApp(t *testing.T) {
	bubble(t, notes("doze_timeout = 10\nidle_timeout = 60\nkeep_awake_max = \"1h\""), func(t *testing.T, w *world) {
		w.spawn(alice)
		e, release := w.acquire(alice)
		e.KeepAwake(5 * time.Minute)
		release()
		list := w.holds(alice, "lease 0")
		if want := time.Now().Add(5 * time.Minute); !list[0].Until.Equal(want) || list[0].Holder != tenant.HolderApp {
			t.Errorf("got %+v, want the app's until %v", list[0], want)
		}
		time.Sleep(5*time.Minute - time.Millisecond)
		w.state(alice, tenant.Awake)
		time.Sleep(time.Millisecond)
		w.state(alice, tenant.Asleep) // both timeouts are long over

		// It is cut to what the service allows, replaced by the next one, and given back.
		e, release = w.acquire(alice)
		e.KeepAwake(24 * hour)
		if s := w.state(alice, tenant.Awake); len(s.Leases) != 1 || !s.Leases[0].Until.Equal(time.Now().Add(hour)) {
			t.Errorf("got leases %+v, want one of an hour", s.Leases)
		}
		e.KeepAwake(time.Minute)
		release()
		time.Sleep(time.Minute - time.Millisecond)
		w.state(alice, tenant.Awake)
		e, release = w.acquire(alice)
		e.KeepAwake(hour)
		e.KeepAwake(0)
		release()
		w.holds(alice)
		time.Sleep(10 * time.Second)
		w.state(alice, tenant.Dozing)
	})
}

func TestNoLeaseWhereNoneIsAllowed(t *testing.T) {
	bubble(t, notes("idle_timeout = 60\nkeep_awake_max = 0"), func(t *testing.T, w *world) {
		w.spawn(alice)
		e, release := w.acquire(alice)
		e.KeepAwake(hour)
		release()
		w.holds(alice)
		time.Sleep(time.Minute)
		w.state(alice, tenant.Asleep)
	})
}

// A dozing instance that an operator wants awake thaws, and a sleeping one wakes.
func TestLeaseOfAnOperator(t *testing.T) {
	bubble(t, notes("doze_timeout = 10\nidle_timeout = 60"), func(t *testing.T, w *world) {
		w.register(alice)
		keep := func(d time.Duration) tenant.Snapshot {
			t.Helper()
			s, err := w.manager.KeepAwake(t.Context(), alice, d)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		if s := keep(2 * hour); s.State != tenant.Awake || len(s.Leases) != 1 || s.Leases[0].Holder != tenant.HolderOperator {
			t.Errorf("got %+v, want it awake with the operator's lease", s)
		}
		time.Sleep(2*hour - time.Millisecond)
		w.state(alice, tenant.Awake)
		time.Sleep(time.Millisecond)
		w.state(alice, tenant.Asleep)

		keep(time.Minute)
		time.Sleep(70 * time.Second)
		w.state(alice, tenant.Asleep)
		w.served(alice, 4)
		time.Sleep(10 * time.Second)
		w.state(alice, tenant.Dozing)
		keep(hour)
		w.state(alice, tenant.Awake)

		// Revoking takes the app's as well, and wakes nobody.
		e, release := w.acquire(alice)
		e.KeepAwake(hour)
		release()
		w.holds(alice, "lease 0", "lease 0")
		if s := keep(0); len(s.Leases) != 0 {
			t.Errorf("got leases %+v after they were revoked", s.Leases)
		}
		time.Sleep(time.Minute)
		w.state(alice, tenant.Asleep)
		keep(0)
		w.state(alice, tenant.Asleep)

		_, err := w.manager.KeepAwake(t.Context(), bob, hour)
		code(t, err, tenant.CodeNotFound)
		for _, d := range []time.Duration{-1, 400 * 24 * hour} {
			_, err = w.manager.KeepAwake(t.Context(), alice, d)
			code(t, err, tenant.CodeInvalid)
		}
	})
}

func TestStopEndsLeases(t *testing.T) {
	bubble(t, notes("idle_timeout = 60"), func(t *testing.T, w *world) {
		w.spawn(alice)
		if _, err := w.manager.KeepAwake(t.Context(), alice, hour); err != nil {
			t.Fatal(err)
		}
		e, release := w.acquire(alice)
		e.KeepAwake(hour)
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		e.KeepAwake(hour) // too late
		release()
		if s := w.state(alice, tenant.Asleep); len(s.Leases) != 0 {
			t.Errorf("got leases %+v after a stop", s.Leases)
		}
		if row, _ := w.store.row(alice); !row.AppLease.IsZero() || !row.OperatorLease.IsZero() {
			t.Errorf("the registry has %+v after a stop", row)
		}
	})
}

// crowd begins more requests than are let in at once after a wake. They end with finish.
func (w *world) crowd(id tenant.ID, wg *sync.WaitGroup, finish <-chan struct{}) {
	for range 100 {
		wg.Go(func() {
			_, release, err := w.manager.Acquire(w.t.Context(), id, tenant.Visit{})
			if err != nil {
				w.t.Error(err)
				return
			}
			<-finish
			release()
		})
	}
	synctest.Wait()
}

// A stop that comes while an operator's lease waits for its turn after the wake is over
// before the lease is taken: it is on an instance that is awake.
func TestLeaseIsNotOnAStoppingInstance(t *testing.T) {
	bubble(t, notes("stop_grace = 1"), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Ready: 10 * time.Millisecond, Stop: time.Second})
		// Whether the lease has to wait is up to the order in which the waiters get to run.
		for range 20 {
			w.register(alice)
			finish := make(chan struct{})
			var wg sync.WaitGroup
			w.crowd(alice, &wg, finish)
			kept := make(chan tenant.Snapshot, 1)
			wg.Go(func() {
				s, err := w.manager.KeepAwake(t.Context(), alice, hour)
				if err != nil {
					t.Error(err)
				}
				kept <- s
			})
			synctest.Wait()
			w.crowd(alice, &wg, finish)
			time.Sleep(15 * time.Millisecond)
			w.state(alice, tenant.Awake)
			waits := len(kept) == 0
			if _, err := w.manager.Stop(t.Context(), alice); err != nil {
				t.Error(err)
			}
			s := <-kept
			close(finish)
			wg.Wait()
			if !waits {
				continue
			}
			if s.State != tenant.Awake || len(s.Leases) != 1 {
				t.Errorf("got %v with leases %+v, want it awake with one", s.State, s.Leases)
			}
			w.state(alice, tenant.Awake)
			return
		}
		t.Fatal("the lease never had to wait")
	})
}

// Leases outlive the daemon, and the instance's own end.
func TestLeasesAreRemembered(t *testing.T) {
	text := notes("idle_timeout = 60")
	bubble(t, text, func(t *testing.T, w *world) {
		w.spawn(alice, bob)
		until := time.Now().Add(hour)
		if _, err := w.manager.KeepAwake(t.Context(), alice, hour); err != nil {
			t.Fatal(err)
		}
		if row, _ := w.store.row(alice); !row.OperatorLease.Equal(until) {
			t.Errorf("the registry has %v at once, want %v", row.OperatorLease, until)
		}
		e, release := w.acquire(bob)
		e.KeepAwake(hour)
		release()
		w.restart(parse(t, text))
		w.holds(alice, "lease 0")
		w.holds(bob, "lease 0")
		w.systemd.Crash(alice)
		time.Sleep(time.Second) // it is started again
		w.served(alice, 2)
		w.holds(alice, "lease 0")
		time.Sleep(time.Until(until) - time.Millisecond)
		w.state(alice, tenant.Awake)
		w.state(bob, tenant.Awake)
		time.Sleep(time.Millisecond)
		w.state(alice, tenant.Asleep)
		w.state(bob, tenant.Asleep)
	})
}
