package lifecycle_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
)

var schedules = flag.Int("schedules", 60, "random schedules to try")

// TestEveryMoment makes requests at every moment around the boundaries at which an
// instance dozes and sleeps: each is served, by a process that is neither frozen nor
// told to end while the request is in flight.
func TestEveryMoment(t *testing.T) {
	app := lifecycletest.App{
		Boot: 3 * time.Millisecond, Ready: 5 * time.Millisecond, Serve: 2 * time.Millisecond,
		Freeze: 4 * time.Millisecond, Stop: 6 * time.Millisecond,
	}
	for _, boundary := range []time.Duration{time.Second, 2 * time.Second} {
		for offset := -15 * time.Millisecond; offset <= 30*time.Millisecond; offset += time.Millisecond / 2 {
			bubble(t, notes("doze_timeout = 1\nidle_timeout = 2"), func(t *testing.T, w *world) {
				h := newHolds(w)
				w.systemd.SetApp(alice, app)
				w.spawn(alice)
				for range 3 {
					time.Sleep(boundary + offset)
					if err := h.request(alice); err != nil {
						t.Errorf("%v after %v of idleness: %v", offset, boundary, err)
					}
				}
			})
		}
	}
}

// TestRandomSchedules is the same with chance in everything: when requests come, how
// long all parts take, when apps crash, what fails to start.
func TestRandomSchedules(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for i := range uint64(*schedules) {
		t.Run(fmt.Sprintf("seed %d", seed+i), func(t *testing.T) {
			// Its apps crash more often than any that is to be given up.
			brake := "[settings]\nmax_restarts = 1000\nbackoff_max_ms = 2000\ndata_dir"
			text := strings.Replace(notes("doze_timeout = 1\nidle_timeout = 2\nstartup_timeout = 5"), "[settings]\ndata_dir", brake, 1)
			bubble(t, text, func(t *testing.T, w *world) {
				schedule(t, w, rand.New(rand.NewPCG(seed+i, 0)), i%3 == 2)
			})
		})
	}
}

func schedule(t *testing.T, w *world, r *rand.Rand, crashes bool) {
	var mu sync.Mutex
	upTo := func(d time.Duration) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(r.Int64N(int64(d) + 1))
	}
	h := newHolds(w)
	h.crashes = crashes
	ids := []tenant.ID{alice, bob}
	for _, id := range ids {
		w.systemd.SetApp(id, lifecycletest.App{
			Boot: upTo(20 * time.Millisecond), Ready: upTo(200 * time.Millisecond), Serve: upTo(50 * time.Millisecond),
			Freeze: upTo(50 * time.Millisecond), Stop: upTo(500 * time.Millisecond), StopFails: upTo(1) == 1,
		})
	}
	w.spawn(ids...)
	w.systemd.SetLatency(func(op string) time.Duration {
		if op == "hint" {
			return upTo(30 * time.Millisecond)
		}
		return upTo(10 * time.Millisecond)
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 30 {
				// Mostly near the two boundaries.
				time.Sleep([]time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second}[upTo(3)] + upTo(100*time.Millisecond))
				id := ids[upTo(1)]
				err := h.request(id)
				if err != nil && !crashes {
					t.Errorf("%s: %v", id, err)
				}
				if tenant.CodeOf(err) == tenant.CodeFailed {
					t.Errorf("%s was given up: %v", id, err)
				}
			}
		})
	}
	if crashes {
		wg.Go(func() {
			for range 20 {
				time.Sleep(upTo(5 * time.Second))
				w.systemd.Crash(ids[upTo(1)])
			}
		})
	}
	begun := time.Now()
	wg.Wait()
	if took := time.Since(begun); took > 10*time.Minute {
		t.Errorf("took %v: somebody waited for something lost", took)
	}
	// In the end all is quiet, and what is believed is true.
	time.Sleep(2 * time.Minute)
	for _, id := range ids {
		if s := w.state(id, tenant.Asleep); s.InFlight != 0 {
			t.Errorf("%s: got %d in flight, want 0", id, s.InFlight)
		}
		if got := w.systemd.Active(id); got != "inactive" && (!crashes || got != "failed") {
			t.Errorf("%s: got ActiveState %q, want it down", id, got)
		}
		if err := h.request(id); err != nil {
			t.Errorf("%s at the end: %v", id, err)
		}
	}
}

// holds knows which requests are in flight and that nobody touches their process.
type holds struct {
	w       *world
	crashes bool

	mu   sync.Mutex
	held map[tenant.ID]int
}

func newHolds(w *world) *holds {
	h := &holds{w: w, held: map[tenant.ID]int{}}
	w.systemd.OnSignal(func(id tenant.ID, what string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		// After a crash the next process may be cleared away with the failed units.
		if h.held[id] > 0 && !h.crashes {
			w.t.Errorf("%s got %q with %d requests in flight", id, what, h.held[id])
		}
	})
	return h
}

func (h *holds) request(id tenant.ID) error {
	ctx, cancel := context.WithTimeout(h.w.t.Context(), time.Minute)
	defer cancel()
	e, release, err := h.w.manager.Acquire(ctx, id, tenant.Visit{})
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			h.w.t.Errorf("%s: a wake-up was lost: %v", id, err)
		}
		return err
	}
	h.mu.Lock()
	h.held[id]++
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.held[id]--
		h.mu.Unlock()
		release()
	}()
	if !h.crashes {
		if s, err := h.w.manager.Get(id); err != nil || s.State != tenant.Awake {
			h.w.t.Errorf("%s: admitted while %v, %v", id, s.State, err)
		}
	}
	_, err = exchange(ctx, e)
	return err
}
