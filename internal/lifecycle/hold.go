package lifecycle

import (
	"time"

	"tenement.dev/internal/tenant"
)

// streamWindow is for how long traffic on a stream counts as work, at most.
const streamWindow = 30 * time.Second

// holdsLocked lists why an awake or dozing instance must not rest now. It is the one
// list: the idle check, whoever wants memory back and `ten why` all go by it.
//
// An instance without holds rests when it has been idle for its timeouts, no sooner.
func (m *Manager) holdsLocked(inst *instance, now time.Time) []tenant.Hold {
	var holds []tenant.Hold
	if inst.requests > 0 {
		holds = append(holds, tenant.Hold{Kind: tenant.HoldRequests, Count: inst.requests})
	}
	doze, stop := m.idleTimeoutsLocked(inst)
	if inst.streams > 0 {
		window := streamWindow
		for _, timeout := range []time.Duration{doze, stop} {
			if timeout > 0 {
				window = min(window, timeout)
			}
		}
		if until := inst.process.get().lastTraffic.Add(window); now.Before(until) {
			holds = append(holds, tenant.Hold{Kind: tenant.HoldStreams, Count: inst.streams, Until: until})
		}
	}
	for _, l := range inst.leasesLocked(now) {
		holds = append(holds, tenant.Hold{Kind: tenant.HoldLease, Holder: l.Holder, Until: l.Until})
	}
	if until := m.busyUntilLocked(inst); now.Before(until) {
		holds = append(holds, tenant.Hold{Kind: tenant.HoldCPU, Cores: inst.cpu.get().use.cores, Waits: inst.cpu.get().use.waits, Until: until})
	}
	if doze == 0 && stop == 0 {
		holds = append(holds, tenant.Hold{Kind: tenant.HoldConfig})
	}
	if until := inst.process.get().patience; now.Before(until) {
		holds = append(holds, tenant.Hold{Kind: tenant.HoldRetry, Until: until})
	}
	return holds
}

// Holds lists why an instance does not rest now; one that does not run has none.
func (m *Manager) Holds(id tenant.ID) ([]tenant.Hold, error) {
	inst, ok := m.lookup(id)
	if !ok {
		return nil, tenant.NoInstance("look at", id)
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if !believedRunning(inst) {
		return nil, nil
	}
	return m.holdsLocked(inst, time.Now()), nil
}

// restLocked gives the moments at which the instance dozes and stops if nothing
// happens until then, zero for never. Where a hold's end is not known it is taken to
// end now.
func (m *Manager) restLocked(inst *instance, now time.Time) (doze, stop time.Time) {
	idleSince := inst.lastActive
	if inst.requests > 0 {
		idleSince = now
	}
	var held time.Time
	for _, h := range m.holdsLocked(inst, now) {
		if h.Until.After(held) {
			held = h.Until
		}
	}
	at := func(timeout time.Duration) time.Time {
		if timeout == 0 {
			return time.Time{}
		}
		if at := idleSince.Add(timeout); at.After(held) {
			return at
		}
		return held
	}
	dozeAfter, stopAfter := m.idleTimeoutsLocked(inst)
	return at(dozeAfter), at(stopAfter)
}

// earliest gives the first of two moments that are not zero.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// due reports whether a moment that restLocked gave has come.
func due(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }
