package lifecycle_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/tenant"
)

// holds checks why an instance does not rest, as a list of "KIND COUNT".
func (w *world) holds(id tenant.ID, want ...string) []tenant.Hold {
	w.t.Helper()
	synctest.Wait()
	list, err := w.manager.Holds(id)
	if err != nil {
		w.t.Fatal(err)
	}
	var got []string
	for _, h := range list {
		got = append(got, fmt.Sprintf("%s %d", h.Kind, h.Count))
	}
	if !slices.Equal(got, want) {
		w.t.Fatalf("%s: got holds %q, want %q", id, got, want)
	}
	return list
}

func TestHoldsAreWhatKeepsItAwake(t *testing.T) {
	bubble(t, notes("doze_timeout = 100\nidle_timeout = 600"), func(t *testing.T, w *world) {
		w.register(alice)
		w.holds(alice)
		_, first := w.acquire(alice)
		e, second := w.acquire(alice)
		w.holds(alice, "requests 2")
		touch := e.Stream()
		list := w.holds(alice, "requests 1", "streams 1")
		if want := time.Now().Add(30 * time.Second); !list[1].Until.Equal(want) {
			t.Errorf("got traffic until %v, want %v", list[1].Until, want)
		}
		first()
		w.holds(alice, "streams 1")
		time.Sleep(30 * time.Second)
		w.holds(alice)
		w.state(alice, tenant.Awake)
		if err := touch(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.holds(alice, "streams 1")
		second()
		w.holds(alice)
		time.Sleep(100 * time.Second)
		w.state(alice, tenant.Dozing)
		w.holds(alice)
	})
}

func TestWithoutTimeoutsTheConfigurationHolds(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.holds(alice, "config 0")
		w.manager.SetConfig(parse(t, notes("idle_timeout = 10")))
		w.holds(alice)
		time.Sleep(10 * time.Second)
		w.state(alice, tenant.Asleep)
	})
}
