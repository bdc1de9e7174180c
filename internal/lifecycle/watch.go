package lifecycle

import (
	"context"
	"sync/atomic"

	"tenement.dev/units"
)

// maxFailures is how many failures in hints end a wake although no look finds the unit
// failed: while a call waits at its doorbell the manager starts a unit again at once.
// One or two may be late and of an earlier run.
const maxFailures = 3

// hints tells a wake of the hints of its unit.
type hints struct {
	more   chan struct{}
	failed atomic.Int32 // how often it failed
	last   string       // for tell only
}

// tell is for the Manager's loop. One failure may come in several hints; an empty one says
// that some may have been lost. The others, of which each start has a dozen, are no reason to
// look: a unit that fails after them gives another.
func (h *hints) tell(active string) {
	if active == "failed" && h.last != "failed" {
		h.failed.Add(1)
	}
	if active != "" {
		h.last = active
	}
	if active != "" && active != "failed" {
		return
	}
	select {
	case h.more <- struct{}{}:
	default: // one look is already due
	}
}

// unitFailure is the cause when the unit fails without ten-init having answered.
type unitFailure struct{ exit units.Exit }

func (f *unitFailure) Error() string { return "unit failed: " + describeExit(f.exit) }

// watchFailure looks whether the unit fails, each time that there is a hint of it:
// what cannot even start answers no doorbell.
func (m *Manager) watchFailure(ctx context.Context, inst *instance, cancel context.CancelCauseFunc) (stop func()) {
	hints := &hints{more: make(chan struct{}, 1)}
	m.mu.Lock()
	m.waking[inst.id] = hints
	m.mu.Unlock()
	done := make(chan struct{})
	m.tasks.do(func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hints.more:
			}
			list, err := m.controller.List(ctx, inst.id)
			if err != nil || len(list) != 1 {
				continue
			}
			// What was killed may well start: somebody has ended it, or memory was short. And
			// what has no end to tell of is being started again already.
			exit := list[0].Exit
			hopeless := list[0].Active == "failed" && !killed(exit) && !unseen(exit)
			if hopeless || hints.failed.Load() >= maxFailures {
				cancel(&unitFailure{exit})
				return
			}
		}
	})
	return func() {
		cancel(nil)
		<-done
		m.mu.Lock()
		delete(m.waking, inst.id)
		m.mu.Unlock()
	}
}
