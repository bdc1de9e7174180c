package lifecycle

import (
	"context"
	"fmt"
	"time"

	"tenement.dev/internal/tenant"
)

// hastyGrace is what requests in flight get where the app is unhealthy: it may well
// answer none of them.
const hastyGrace = time.Second

// admit has the instance awake and l among those that its process serves. The timing is
// of the wake that was waited for, nil if there was none.
func (m *Manager) admit(ctx context.Context, l *lease) (*tenant.Wake, error) {
	inst := l.inst
	for {
		l.mu.Lock()
		released := l.released
		l.mu.Unlock()
		if released { // nobody is to be woken for it
			return nil, fmt.Errorf("connect %s: the request has ended", inst.id)
		}
		woke, err := m.awaken(ctx, inst, l.priority, false)
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		inst.mu.Lock()
		admitted := inst.op == nil && inst.state == tenant.Awake && !l.released
		if admitted {
			inst.admitLocked(l)
		}
		inst.mu.Unlock()
		l.mu.Unlock()
		if admitted {
			return woke, nil
		}
	}
}

// admitLocked adds l, which is held or not shared yet, to those that the process serves.
func (i *instance) admitLocked(l *lease) {
	p := i.process.own()
	if p.ending == nil {
		p.ending = make(chan struct{})
	}
	i.serving++
	l.admitted, l.startedAt, l.ending = true, i.startedAt, p.ending
}

// dismissLocked takes l from those that the process serves. l.mu must be held.
func (l *lease) dismissLocked() {
	if !l.admitted {
		return
	}
	l.admitted = false
	l.inst.mu.Lock()
	defer l.inst.mu.Unlock()
	l.inst.serving--
	if p := l.inst.process.own(); l.inst.serving == 0 && p.drained != nil {
		close(p.drained)
		p.drained = nil
	}
}

// readmit is for a request whose process has gone: it is served by the next one. One
// that wakes nothing is so only if that runs already; else its connection is lost.
func (m *Manager) readmit(ctx context.Context, l *lease) error {
	l.mu.Lock()
	l.dismissLocked()
	wakes := l.wakes()
	if !wakes && !l.released {
		l.inst.mu.Lock()
		if l.inst.op == nil && l.inst.state == tenant.Awake {
			l.inst.admitLocked(l)
		}
		l.inst.mu.Unlock()
	}
	admitted := l.admitted
	l.mu.Unlock()
	switch {
	case admitted:
		return nil
	case !wakes:
		return fmt.Errorf("connect %s: %w", l.inst.id, errAnother)
	}
	_, err := m.admit(ctx, l)
	return err
}

// Ending implements tenant.Endpoint.
func (l *lease) Ending() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ending
}

// drain lets what the instance serves come to its end, for grace at most. Streams are
// told to end; new requests wait for the operation that drains.
func (m *Manager) drain(ctx context.Context, inst *instance, grace time.Duration) {
	m.resting(inst.id)
	inst.mu.Lock()
	p := inst.process.own()
	if p.ending != nil {
		close(p.ending)
		p.ending = nil
	}
	var drained chan struct{}
	if inst.serving > 0 {
		drained = make(chan struct{})
		p.drained, inst.draining = drained, true
	}
	inst.mu.Unlock()
	if drained == nil {
		return
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
	case <-ctx.Done():
	}
	inst.mu.Lock()
	left := inst.serving
	p.drained, inst.draining = nil, false
	inst.mu.Unlock()
	if left > 0 {
		m.log.Warn("requests cut off by a stop", "instance", inst.id, "requests", left, "grace", grace)
	}
	m.resting(inst.id) // connections that have become free meanwhile
}
