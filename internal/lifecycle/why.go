package lifecycle

import (
	"time"

	"tenement.dev/internal/tenant"
)

// Why tells why an instance is in its state, from what its decisions are made of.
func (m *Manager) Why(id tenant.ID) (tenant.Why, error) {
	inst, ok := m.lookup(id)
	if !ok {
		return tenant.Why{}, tenant.NoInstance("explain", id)
	}
	now := time.Now()
	w := m.whyOf(inst, now)
	m.complete(inst, &w.Snapshot, now)
	if m.scheduler != nil {
		w.ScheduledAt, w.Entry = m.scheduler.next(id.Service)
	}
	return w, nil
}

// whyOf is what an instance itself knows of that.
func (m *Manager) whyOf(inst *instance, now time.Time) tenant.Why {
	inst.mu.Lock()
	defer inst.mu.Unlock()
	w := tenant.Why{Snapshot: inst.snapshotLocked(now)}
	m.addReleaseLocked(inst, &w.Snapshot)
	w.WokenBy, w.WokenAt = inst.wokenBy, inst.wokenAt.time()
	brake := inst.brake.get()
	w.Failures, w.Spent = len(brake.failures), brake.spent
	if now.Before(brake.until) {
		w.NextTry = brake.until
	}
	health := inst.health.get()
	w.CheckedAt, w.FailedChecks = health.at, health.failures
	if believedRunning(inst) {
		w.Holds = m.holdsLocked(inst, now)
		w.DozeAt, w.SleepAt = m.restLocked(inst, now)
	} else {
		w.Rested = inst.rested
	}
	return w
}

// wokenLocked notes by what the instance is being woken.
func (i *instance) wokenLocked(by tenant.Cause, at time.Time) {
	i.wokenBy, i.wokenAt = by, momentOf(at)
}
