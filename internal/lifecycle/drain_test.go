package lifecycle_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

// synctestWorld is bubble for tests that start the Manager themselves.
func synctestWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	fakeclock.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

// A stop and a restart let what is in flight end, and serve what comes meanwhile with
// the next process.
func TestStopDrains(t *testing.T) {
	for _, restart := range []bool{false, true} {
		bubble(t, notes("stop_grace = 10"), func(t *testing.T, w *world) {
			w.systemd.SetApp(alice, lifecycletest.App{Serve: 3 * time.Second, Stop: time.Second})
			w.spawn(alice)
			h := newHolds(w)
			var wg sync.WaitGroup
			begun := time.Now()
			for range 5 {
				wg.Go(func() {
					if err := h.request(alice); err != nil {
						t.Errorf("in flight: %v", err)
					}
				})
			}
			time.Sleep(time.Second)
			admitted, release := w.acquire(alice)
			wg.Go(func() {
				f := w.manager.Stop
				if restart {
					f = w.manager.Restart
				}
				if _, err := f(t.Context(), alice); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(time.Second)
			w.state(alice, tenant.Stopping)
			// One that was admitted before still belongs to the old process.
			if got, err := exchange(t.Context(), admitted); got != "1" || err != nil {
				t.Errorf("admitted before: got run %q, %v, want 1", got, err)
			}
			since(t, begun, 5*time.Second)
			wg.Go(func() { w.served(alice, 2) })
			time.Sleep(100 * time.Millisecond)
			w.state(alice, tenant.Stopping)
			release()
			wg.Wait()
			w.starts(alice, 2)
		})
	}
}

// Who does not end in time is cut off, and nothing waits for ever.
func TestDrainIsBounded(t *testing.T) {
	bubble(t, notes("stop_grace = 7"), func(t *testing.T, w *world) {
		w.spawn(alice)
		_, release := w.acquire(alice)
		e, release2 := w.acquire(alice)
		e.Stream()
		begun := time.Now()
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		since(t, begun, 7*time.Second)
		w.state(alice, tenant.Asleep)
		select {
		case <-e.Ending():
		default:
			t.Error("the stream was not told to end")
		}
		// Its requests may still reach the next one.
		if got, err := exchange(t.Context(), e); got != "2" || err != nil {
			t.Errorf("got run %q, %v, want 2", got, err)
		}
		release()
		release2()
		begun = time.Now()
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		since(t, begun, 0)
		if s := w.state(alice, tenant.Asleep); s.InFlight != 0 {
			t.Errorf("got %d in flight, want 0", s.InFlight)
		}
	})
}

// Stops at every moment of requests that never end: each is answered.
func TestStopsAmongRequests(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{
			Boot: 2 * time.Millisecond, Ready: 3 * time.Millisecond, Serve: 7 * time.Millisecond, Stop: 5 * time.Millisecond,
		})
		w.spawn(alice)
		h := newHolds(w)
		h.crashes = true // requests may find it stopping; that they are served is what counts
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				for range 200 {
					if err := h.request(alice); err != nil {
						t.Errorf("request: %v", err)
					}
					time.Sleep(time.Duration(i) * time.Millisecond)
				}
			})
		}
		for i := range 100 {
			time.Sleep(time.Duration(i%13) * time.Millisecond)
			if _, err := w.manager.Stop(t.Context(), alice); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
		if s := w.state(alice, tenant.Awake); s.InFlight != 0 {
			t.Errorf("got %d in flight, want 0", s.InFlight)
		}
		t.Log(fmt.Sprint(w.systemd.Starts(alice), " starts"))
	})
}
