package lifecycle

import (
	"time"

	"tenement.dev/internal/tenant"
)

// AcquireAwake is Acquire for an instance that is awake and takes requests. Where that would
// wait, or fail, ok is false and nothing has been done; Acquire says why.
//
// last is nil, or what the caller was given by AcquireAwake before and nobody uses any more,
// whose request has been counted out: where it is for the same instance it is given again, so
// that a request allocates nothing.
func (m *Manager) AcquireAwake(id tenant.ID, v tenant.Visit, last tenant.Endpoint) (e tenant.Endpoint, release func(), ok bool) {
	select {
	case <-m.ready:
	default:
		return nil, nil, false
	}
	l := m.leaseFor(id, last)
	if l == nil || m.pausedError(id) != nil {
		return nil, nil, false
	}
	inst, service := l.inst, l.service
	l.priority, l.quiet = v.Priority, v.Kinds&service.NoWake != 0
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if inst.removed || inst.op != nil || inst.state != tenant.Awake || inst.requests+inst.streams >= service.MaxInFlight {
		return nil, nil, false
	}
	inst.requests++
	if !l.quiet {
		inst.activeLocked(time.Now())
	}
	l.released = false
	inst.admitLocked(l)
	return l, l.over, true
}

// leaseFor gives a lease that nobody uses, nil where there is no such instance. It is last if
// that is one of the instance's, and was made with the configuration of now.
func (m *Manager) leaseFor(id tenant.ID, last tenant.Endpoint) *lease {
	now := m.config.Load()
	if l, ok := last.(*lease); ok && l.manager == m && l.config == now && l.inst.id == id && l.spent() {
		return l
	}
	inst, ok := m.lookup(id)
	service := now.Services[id.Service]
	if !ok || service == nil {
		return nil
	}
	l := &lease{manager: m, inst: inst, config: now, service: service, released: true}
	l.over = l.release
	return l
}

// spent reports whether the lease's request has been counted out, and was one like others.
func (l *lease) spent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.released && !l.stream && !l.admitted && l.woke == nil
}
