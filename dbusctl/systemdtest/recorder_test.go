package systemdtest

import (
	"context"
	"slices"
	"sync"
	"testing"

	"tenement.dev/units"
)

// recorder keeps all events.
type recorder struct {
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

// wait waits for an event after mark that ok accepts.
func (r *recorder) wait(t *testing.T, mark int, what string, ok func(units.UnitState) bool) {
	t.Helper()
	ctx := within(t, limit)
	for {
		seen, changed := r.events()
		if slices.ContainsFunc(seen[mark:], ok) {
			return
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
	r.wait(t, mark, name+" "+active, func(st units.UnitState) bool {
		return st.Name == name && st.Active == active && st.Load == "loaded"
	})
}

func (r *recorder) waitGone(t *testing.T, mark int, name string) {
	t.Helper()
	r.wait(t, mark, name+" gone", func(st units.UnitState) bool { return st.Name == name && st.Load == "not-found" })
}

func (r *recorder) waitResync(t *testing.T, mark int) {
	t.Helper()
	r.wait(t, mark, "resync", func(st units.UnitState) bool { return st == units.UnitState{} })
}
