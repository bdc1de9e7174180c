package dbusctl

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"tenement.dev/test/fakeclock"
	"tenement.dev/units"
)

// pumped gives a bubble with running events.
func pumped(t *testing.T, f func(t *testing.T, e *events)) {
	fakeclock.Test(t, func(t *testing.T) {
		e := newEvents()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { e.pump(ctx) })
		f(t, e)
		cancel()
		wg.Wait()
	})
}

func state(name, active string) units.UnitState {
	return units.UnitState{Name: name, Load: "loaded", Active: active, Sub: active}
}

func wantEvents(t *testing.T, e *events, want ...units.UnitState) {
	t.Helper()
	for i, want := range want {
		synctest.Wait()
		select {
		case got := <-e.out:
			if got != want {
				t.Errorf("event %d is %v, want %v", i, got, want)
			}
		default:
			t.Errorf("there is no event %d, want %v", i, want)
		}
	}
	synctest.Wait()
	select {
	case got := <-e.out:
		t.Errorf("got %v after the last event", got)
	default:
	}
}

func TestEventsLatestWins(t *testing.T) {
	pumped(t, func(t *testing.T, e *events) {
		wantEvents(t, e)
		e.put(state("a", "activating"))
		synctest.Wait() // it is being offered now
		e.put(state("b", "activating"))
		e.put(state("a", "active"))
		e.put(state("b", "failed"))
		e.put(state("a", "inactive"))
		wantEvents(t, e, state("a", "inactive"), state("b", "failed"))
		e.put(state("a", "inactive"))
		wantEvents(t, e, state("a", "inactive"))
	})
}

func TestEventsResync(t *testing.T) {
	pumped(t, func(t *testing.T, e *events) {
		e.put(state("a", "active"))
		e.put(state("b", "active"))
		synctest.Wait()
		e.resync()
		e.resync()
		e.put(state("c", "active"))
		wantEvents(t, e, units.UnitState{}, state("c", "active"))
	})
}

// TestEventsSeenWhileNew: what is noted between the reader's receiving and the pump's
// learning of it is not lost, even if it is equal.
func TestEventsSeenWhileNew(t *testing.T) {
	e := newEvents()
	for _, note := range []func(){e.resync, func() { e.put(state("a", "active")) }} {
		note()
		ev, ok := e.next()
		if !ok {
			t.Fatal("nothing to send")
		}
		note()
		e.sent(ev)
		again, ok := e.next()
		if !ok || again.state != ev.state {
			t.Fatalf("next is %v, %v, want %v again", again, ok, ev)
		}
		e.sent(again)
		if ev, ok := e.next(); ok {
			t.Fatalf("next is %v, want none", ev)
		}
	}
}

// TestEventsConcurrent: whatever the interleaving, the last state of every unit
// arrives, and nothing goes backwards.
func TestEventsConcurrent(t *testing.T) {
	const names, rounds = 8, 500
	e := newEvents()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { e.pump(ctx) })
	for n := range names {
		wg.Go(func() {
			for i := range rounds {
				e.put(state(fmt.Sprint(n), fmt.Sprintf("%03d", i)))
			}
		})
	}
	last := map[string]string{}
	want := fmt.Sprintf("%03d", rounds-1)
	for done := 0; done < names; {
		st := <-e.out
		if st.Active <= last[st.Name] {
			t.Fatalf("unit %s went from %s to %s", st.Name, last[st.Name], st.Active)
		}
		if last[st.Name] = st.Active; st.Active == want {
			done++
		}
	}
}
