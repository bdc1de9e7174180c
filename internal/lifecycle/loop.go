package lifecycle

import (
	"context"
	"fmt"
)

// chore is work that Run has done again and again, one at a time.
type chore struct {
	queued, running chan struct{}
}

func newChore() chore { return chore{make(chan struct{}, 1), make(chan struct{}, 1)} }

// run does f off Run's loop, which nothing may hold up. A call while f runs has it done
// once more afterwards: what it is to look at may have changed.
func (c chore) run(m *Manager, f func(context.Context)) {
	select {
	case c.queued <- struct{}{}:
	default:
		return
	}
	m.tasks.do(func() {
		select {
		case c.running <- struct{}{}:
			<-c.queued
			f(m.ctx)
			<-c.running
		case <-m.ctx.Done():
		}
	})
}

// saveSoon has what changed written to the registry.
func (m *Manager) saveSoon() {
	select {
	case m.changed <- struct{}{}:
	default: // it is due already
	}
}

// Alive reports whether the Manager still works: its loop answers, and no lock is held
// for good. It waits until ctx ends.
func (m *Manager) Alive(ctx context.Context) error {
	pong := make(chan struct{})
	select {
	case m.pings <- pong:
	case <-ctx.Done():
		return fmt.Errorf("the manager's loop does not answer: %w", context.Cause(ctx))
	}
	listed := make(chan struct{})
	go func() {
		for _, inst := range m.all() {
			inst.mu.Lock()
			inst.mu.Unlock() //nolint:staticcheck // to see that it can be had is all
		}
		close(listed)
	}()
	select {
	case <-listed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("an instance is locked: %w", context.Cause(ctx))
	}
}
