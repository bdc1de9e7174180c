package systemdtest

import (
	"context"
	"slices"
	"sync"
	"testing"

	"tenement.dev/dbusctl"
	"tenement.dev/units"
)

// recorder keeps all events of a client.
type recorder struct {
	client *dbusctl.Client

	mu      sync.Mutex
	seen    []units.UnitState
	changed chan struct{}
}

func (r *recorder) record(ctx context.Context, events <-chan units.UnitState) {
	for {
		select {
		case st := <-events:
			r.mu.Lock()
			r.seen = append(r.seen, st)
			close(r.changed)
			r.changed = make(chan struct{})
			r.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

func (r *recorder) events() ([]units.UnitState, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen), r.changed
}

// mark is the number of events so far.
func (r *recorder) mark() int {
	seen, _ := r.events()
	return len(seen)
}

// wait waits for an event after mark that ok accepts. After each resync it looks, too, as a
// reader has to: a resync stands for all events that were waiting for the reader.
func (r *recorder) wait(t *testing.T, mark int, what string, ok func(units.UnitState) bool, look func() bool) {
	t.Helper()
	ctx := within(t, limit)
	looks := 0
	for {
		seen, changed := r.events()
		if slices.ContainsFunc(seen[mark:], ok) {
			return
		}
		resyncs := 0
		for _, st := range seen[mark:] {
			if st == (units.UnitState{}) {
				resyncs++
			}
		}
		if resyncs > looks {
			if look() {
				return
			}
			looks = resyncs
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no event: %s; there were %v", what, seen[mark:])
		}
	}
}

func (r *recorder) waitState(t *testing.T, mark int, name, active string) {
	t.Helper()
	ok := func(st units.UnitState) bool { return st.Name == name && st.Active == active && st.Load == "loaded" }
	r.wait(t, mark, name+" "+active, ok, func() bool { return ok(one(t, r.client, name)) })
}

func (r *recorder) waitGone(t *testing.T, mark int, name string) {
	t.Helper()
	ok := func(st units.UnitState) bool { return st.Name == name && st.Load == "not-found" }
	r.wait(t, mark, name+" gone", ok, func() bool { return ok(one(t, r.client, name)) })
}

func (r *recorder) waitResync(t *testing.T, mark int) {
	t.Helper()
	r.wait(t, mark, "resync", func(st units.UnitState) bool { return st == units.UnitState{} }, func() bool { return false })
}
