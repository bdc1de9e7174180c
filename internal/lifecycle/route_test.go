package lifecycle_test

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
)

var (
	v1 = tenant.ID{Service: "notes", Name: "v1"}
	v2 = tenant.ID{Service: "notes", Name: "v2"}
	v3 = tenant.ID{Service: "notes", Name: "v3"}
)

func weight(n int) tenant.Weight { return tenant.Weight{N: n, Set: true} }

// shares routes many requests and gives the part of each instance.
func (w *world) shares(n int) map[tenant.ID]float64 {
	w.t.Helper()
	counts := map[tenant.ID]int{}
	for range n {
		id, _, err := w.manager.Route("notes", "", nil)
		if err != nil {
			w.t.Fatal(err)
		}
		counts[id]++
	}
	parts := map[tenant.ID]float64{}
	for id, count := range counts {
		parts[id] = float64(count) / float64(n)
	}
	return parts
}

func (w *world) weigh(id tenant.ID, n int) {
	w.t.Helper()
	if _, err := w.manager.SetWeight(w.t.Context(), id, weight(n)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) wantShares(want map[tenant.ID]float64) {
	w.t.Helper()
	got := w.shares(4000)
	for _, id := range []tenant.ID{v1, v2, v3} {
		// Five standard deviations: one failure in some million runs.
		if math.Abs(got[id]-want[id]) > 5*math.Sqrt(want[id]*(1-want[id])/4000) {
			w.t.Errorf("%s: got a share of %.3f, want %.3f", id, got[id], want[id])
		}
	}
}

func TestRouteByWeight(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(v1, v2, v3)
		w.weigh(v1, 80)
		w.weigh(v2, 20)
		w.weigh(v3, 0)
		w.wantShares(map[tenant.ID]float64{v1: 0.8, v2: 0.2})

		// Weights outlast sleep and the daemon, and a sleeper keeps its share.
		for _, id := range []tenant.ID{v1, v2, v3} {
			if _, err := w.manager.Stop(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		w.restart(parse(t, notes("")))
		w.wantShares(map[tenant.ID]float64{v1: 0.8, v2: 0.2})

		// One without a weight of its own counts as 100.
		if _, err := w.manager.SetWeight(t.Context(), v1, tenant.Weight{}); err != nil {
			t.Fatal(err)
		}
		w.weigh(v2, 300)
		w.wantShares(map[tenant.ID]float64{v1: 0.25, v2: 0.75})
	})
}

func TestRouteToNobody(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		_, _, err := w.manager.Route("notes", "", nil)
		code(t, err, tenant.CodeNotFound)
		_, _, err = w.manager.Route("nosuch", "", nil)
		code(t, err, tenant.CodeNotFound)
		w.spawn(v1)
		w.weigh(v1, 0) // not even as the last one
		_, _, err = w.manager.Route("notes", "", nil)
		code(t, err, tenant.CodeUnavailable)
		w.weigh(v1, 1)
		_, _, err = w.manager.Route("notes", "", []tenant.ID{v1})
		code(t, err, tenant.CodeUnavailable)
	})
}

func TestRouteWithoutWeights(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		for _, id := range []tenant.ID{v1, v2, v3} {
			w.register(id)
			time.Sleep(time.Second) // the clock is the bubble's
		}
		w.served(v2, 2)
		if _, err := w.manager.Stop(t.Context(), v2); err != nil {
			t.Fatal(err)
		}
		// All sleep: the one that was active last is woken, and only that.
		w.wantShares(map[tenant.ID]float64{v2: 1})
		w.spawn(v1)
		w.wantShares(map[tenant.ID]float64{v1: 1})
		w.spawn(v3)
		w.wantShares(map[tenant.ID]float64{v1: 0.5, v3: 0.5})
	})
}

func TestRoutePrefers(t *testing.T) {
	bubble(t, notes("sticky = true"), func(t *testing.T, w *world) {
		w.spawn(v1, v2)
		w.weigh(v1, 0)
		for range 50 {
			if got, _, err := w.manager.Route("notes", "v2", nil); err != nil || got != v2 {
				t.Fatalf("got %v, %v, want the preferred", got, err)
			}
			if got, _, err := w.manager.Route("notes", "v1", nil); err != nil || got != v2 {
				t.Fatalf("got %v, %v, want none with weight 0", got, err)
			}
		}
	})
}

func TestSwap(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(v2)
		w.spawn(v1)
		w.weigh(v1, 70)
		w.weigh(v2, 0)
		s, err := w.manager.Swap(t.Context(), v1, v2)
		if err != nil || s.Weight != weight(70) || s.State != tenant.Awake {
			t.Errorf("got weight %v, state %v, %v, want 70, awake", s.Weight, s.State, err)
		}
		w.wantShares(map[tenant.ID]float64{v2: 1})
		// Back, from an instance that has failed since.
		if _, err := w.manager.Swap(t.Context(), v2, v1); err != nil {
			t.Error(err)
		}
		w.wantShares(map[tenant.ID]float64{v1: 1})

		w.store.fail("setweights", errors.New("disk full"))
		if _, err := w.manager.Swap(t.Context(), v1, v2); err == nil {
			t.Error("got no error although the weights were not stored")
		}
		w.wantShares(map[tenant.ID]float64{v1: 1})
		for _, pair := range [][2]tenant.ID{{v1, v1}, {v1, {Service: "other", Name: "v2"}}} {
			_, err := w.manager.Swap(t.Context(), pair[0], pair[1])
			code(t, err, tenant.CodeInvalid)
		}
		_, err = w.manager.Swap(t.Context(), v1, v3)
		code(t, err, tenant.CodeNotFound)
	})
}

func TestSwapToWhatCannotStart(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(v2)
		w.spawn(v1)
		w.systemd.SetApp(v2, broken)
		_, err := w.manager.Swap(t.Context(), v1, v2)
		code(t, err, tenant.CodeStartFailed)
		w.wantShares(map[tenant.ID]float64{v1: 1})
	})
}

func TestDeploy(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(v1)
		w.systemd.SetApp(v2, slow)
		done := make(chan error)
		go func() {
			s, created, err := w.manager.Deploy(t.Context(), v2, weight(100), 0)
			if err == nil && (!created || s.Weight != weight(100)) {
				err = errors.New("not created with its weight")
			}
			done <- err
		}()
		time.Sleep(time.Millisecond) // the wake has begun
		synctest.Wait()
		w.wantShares(map[tenant.ID]float64{v1: 1})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.wantShares(map[tenant.ID]float64{v1: 0.5, v2: 0.5})
	})
}

func TestFailedDeploy(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(v1)
		w.systemd.SetApp(v2, broken)
		_, _, err := w.manager.Deploy(t.Context(), v2, weight(100), 0)
		code(t, err, tenant.CodeStartFailed)
		if s := w.state(v2, tenant.Asleep); s.Weight != weight(0) {
			t.Errorf("got weight %v, want 0", s.Weight)
		}
		w.wantShares(map[tenant.ID]float64{v1: 1})

		// Too slow for the operator: it is stopped. One that ran goes on.
		w.systemd.SetApp(v3, slow)
		_, _, err = w.manager.Deploy(t.Context(), v3, weight(100), time.Millisecond)
		code(t, err, tenant.CodeStartTimeout)
		w.state(v3, tenant.Asleep)
		w.store.fail("setweights", errors.New("disk full"))
		if _, _, err := w.manager.Deploy(t.Context(), v1, weight(7), 0); err == nil {
			t.Error("got no error although the weight was not stored")
		}
		w.state(v1, tenant.Awake)
		w.starts(v1, 1)
	})
}

var broken = lifecycletest.App{Refusal: &ingress.Refusal{Class: ingress.ClassExited, Text: "status 3"}}

// A service without a host name of its own answers nobody there, whatever its instances do
// and weigh, and gives no weights.
func TestNoServiceHost(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(v3)
		w.spawn(v1)
		w.weigh(v1, 70)
		w.state(v1, tenant.Awake)
		w.manager.SetConfig(parse(t, notes("service_host = false")))
		_, _, err := w.manager.Route("notes", "v1", nil)
		code(t, err, tenant.CodeNoServiceHost)
		_, err = w.manager.SetWeight(t.Context(), v1, weight(5))
		code(t, err, tenant.CodeConflict)
		_, err = w.manager.Swap(t.Context(), v1, v3)
		code(t, err, tenant.CodeConflict)
		_, _, err = w.manager.Deploy(t.Context(), v2, weight(0), 0)
		code(t, err, tenant.CodeConflict)
		if got := w.get(v3).State; got != tenant.Asleep {
			t.Errorf("the target of a refused swap: got %v, want it asleep", got)
		}
		if _, err := w.manager.Get(v2); err == nil {
			t.Error("a refused deployment has left an instance")
		}
		s, created, err := w.manager.Deploy(t.Context(), v2, tenant.Weight{}, 0)
		if err != nil || !created || s.State != tenant.Awake || s.Weight.Set {
			t.Errorf("a deployment without a weight: got %v, weight %v, created %v, %v", s.State, s.Weight, created, err)
		}
		if s, err := w.manager.SetWeight(t.Context(), v1, tenant.Weight{}); err != nil || s.Weight.Set {
			t.Errorf("to take a weight away: got %v, %v", s.Weight, err)
		}
		w.manager.SetConfig(parse(t, notes("")))
		w.wantShares(map[tenant.ID]float64{v1: 0.5, v2: 0.5})
	})
}
