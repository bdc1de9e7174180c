package lifecycle_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

// released wakes alice for n requests at once and gives when each of them was let go,
// since the wake. Each takes as long as serve.
func (w *world) released(n int, serve time.Duration) []time.Duration {
	w.t.Helper()
	w.register(alice)
	w.systemd.SetApp(alice, slow)
	var mu sync.Mutex
	var at []time.Duration
	var wg sync.WaitGroup
	begun := time.Now().Add(time.Second) // slow takes so long
	for range n {
		wg.Go(func() {
			_, release, err := w.manager.Acquire(w.t.Context(), alice, tenant.Visit{})
			if err != nil {
				w.t.Error(err)
				return
			}
			mu.Lock()
			at = append(at, time.Since(begun))
			mu.Unlock()
			time.Sleep(serve)
			release()
		})
	}
	wg.Wait()
	slices.Sort(at)
	return at
}

func TestFewHeldRequestsAreReleasedAtOnce(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		if at := w.released(16, time.Hour); at[15] != 0 {
			t.Errorf("the last of 16 was released after %v, want at once", at[15])
		}
	})
}

// An app that answers nothing for long gets ever more all the same: long polls.
func TestManyHeldRequestsAreReleasedByAndBy(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		at := w.released(1000, time.Hour)
		for i, want := range map[int]time.Duration{
			15: 0, 16: 50 * time.Millisecond, 47: 50 * time.Millisecond, 48: 100 * time.Millisecond, 999: 250 * time.Millisecond,
		} {
			if at[i] != want {
				t.Errorf("number %d was released after %v, want %v", i+1, at[i], want)
			}
		}
	})
}

// One that answers gets twice as many as it has answered.
func TestPaceFollowsTheAnswers(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		at := w.released(1000, time.Millisecond)
		for i, want := range map[int]time.Duration{
			15: 0, 16: time.Millisecond, 47: time.Millisecond, 48: 2 * time.Millisecond, 999: 5 * time.Millisecond,
		} {
			if at[i] != want {
				t.Errorf("number %d was released after %v, want %v", i+1, at[i], want)
			}
		}
	})
}

func TestHeldRequestsThatLeaveHoldUpNobody(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice)
		w.systemd.SetApp(alice, slow)
		leaving, leave := context.WithTimeout(t.Context(), time.Second+10*time.Millisecond)
		defer leave()
		var wg sync.WaitGroup
		for i := range 200 {
			ctx := t.Context()
			if i%2 == 0 {
				ctx = leaving
			}
			wg.Go(func() {
				_, release, err := w.manager.Acquire(ctx, alice, tenant.Visit{})
				if err != nil {
					return
				}
				time.Sleep(time.Hour)
				release()
			})
		}
		time.Sleep(2 * time.Second)
		s := w.state(alice, tenant.Awake)
		if s.InFlight < 100 || s.InFlight > 116 {
			t.Errorf("got %d in flight, want the hundred that stayed and a few that were quick", s.InFlight)
		}
		if _, held := w.manager.Queue(); held != 0 {
			t.Errorf("got %d held, want none", held)
		}
		wg.Wait()
	})
}
