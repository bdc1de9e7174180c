package lifecycle

import (
	"time"

	"tenement.dev/internal/tenant"
)

// AcquireAwake is Acquire for an instance that is awake and takes requests. Where that would
// wait, or fail, ok is false and nothing has been done; Acquire says why.
func (m *Manager) AcquireAwake(id tenant.ID, v tenant.Visit) (e tenant.Endpoint, release func(), ok bool) {
	select {
	case <-m.ready:
	default:
		return nil, nil, false
	}
	inst, ok := m.lookup(id)
	if !ok || m.pausedError(id) != nil {
		return nil, nil, false
	}
	service, ok := m.config.Load().Services[id.Service]
	if !ok {
		return nil, nil, false
	}
	l := &lease{manager: m, inst: inst, service: service, priority: v.Priority}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if inst.removed || inst.op != nil || inst.state != tenant.Awake || inst.requests+inst.streams >= service.MaxInFlight {
		return nil, nil, false
	}
	inst.requests++
	if l.quiet = v.Kinds&service.NoWake != 0; !l.quiet {
		inst.activeLocked(time.Now())
	}
	inst.admitLocked(l)
	return l, l.release, true
}
