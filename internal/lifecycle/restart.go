package lifecycle

import (
	"log/slog"
	"time"

	"tenement.dev/internal/config"
	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// maxHold is how long a request may be held for the start of an instance that is
// started again after a failure; for a later one it is told to come back.
const maxHold = 5 * time.Second

// fate is what becomes of an instance that does not run any more.
type fate struct {
	state  tenant.State
	reason string
	revive bool // it is started again, when the brake allows
	// rested says why it went to sleep, where that is not why it was stopped.
	rested string
}

// revival is a start to come.
type revival struct {
	timer *time.Timer
	over  chan struct{} // closed when it begins, or is not to be
}

// endedLocked has an instance that ran sleep, or start again, as its service wants it.
func (m *Manager) endedLocked(inst *instance, now time.Time, e end) {
	f := m.fateLocked(inst, now, e)
	level, what := slog.LevelWarn, "ended by itself"
	if e.asked {
		level, what = slog.LevelInfo, "stopped from outside"
	}
	m.log.Log(m.ctx, level, what, "instance", inst.id, "reason", e.reason, "next", f.state.String(), "restart", f.revive)
	m.tell(event.Ended, inst.id, slog.String("reason", e.reason), slog.Bool("restart", f.revive))
	next := f.state == tenant.Asleep && (f.revive || e.wanted) && !now.Before(inst.brake.get().until)
	if e.running && !next {
		m.beginStopForLocked(inst, f.reason, &f)
	} else {
		inst.setLocked(f.state, now, f.reason)
		inst.rested = f.rested
		m.settledLocked(inst, now, f)
	}
}

// fateLocked decides what follows after the end e. One that dozed was not in use and is
// not missed until its next request.
func (m *Manager) fateLocked(inst *instance, now time.Time, e end) fate {
	policy := m.restartPolicy(inst.id)
	switch {
	case e.asked:
		return fate{state: tenant.Asleep, reason: e.reason, rested: e.reason}
	case inst.state == tenant.Dozing, e.clean && policy != config.RestartAlways:
		return fate{state: tenant.Asleep, reason: e.reason, rested: "it ended by itself"}
	default:
		return m.failedLocked(inst, now, e.reason, policy)
	}
}

// failedLocked counts a failure of a running instance and decides what follows.
func (m *Manager) failedLocked(inst *instance, now time.Time, reason string, policy config.Restart) fate {
	m.saveSoon()
	inst.changedLocked()
	spent := inst.brake.own().fail(now, m.config.Load().Settings)
	if spent || policy == config.RestartNever {
		inst.brake.own().spent = true
		return fate{state: tenant.Failed, reason: reason, rested: "it ended by itself"}
	}
	return fate{state: tenant.Asleep, reason: reason, rested: "it ended by itself", revive: !m.isPaused(inst.id)}
}

// restartPolicy is that of the instance's service; instances of one that has gone from
// the configuration are left alone.
func (m *Manager) restartPolicy(id tenant.ID) config.Restart {
	if service, ok := m.config.Load().Services[id.Service]; ok {
		return service.Restart
	}
	return config.RestartNever
}

// settledLocked sees to an instance that has just entered f.state and has no operation.
func (m *Manager) settledLocked(inst *instance, now time.Time, f fate) {
	if f.revive {
		m.reviveLocked(inst, now)
	}
	if inst.loaded {
		m.tasks.do(func() { m.fellAsleep(inst) })
	}
}

// reviveLocked starts a sleeping instance again as soon as the brake allows.
func (m *Manager) reviveLocked(inst *instance, now time.Time) {
	inst.reviving = true
	brake := inst.brake.own()
	brake.restarts++
	brake.dirty = true
	inst.changedLocked()
	m.observer.Happened(inst.id, tenant.StartedAgain)
	inst.wokenLocked(tenant.CauseEnded, now)
	m.tell(event.Restarting, inst.id, slog.Int64("restarts", brake.restarts), slog.Duration("wait", max(brake.until.Sub(now), 0)))
	m.awaitRevivalLocked(inst, now)
}

// awaitRevivalLocked starts a sleeping instance, which is reviving, when the brake allows.
func (m *Manager) awaitRevivalLocked(inst *instance, now time.Time) {
	wait := inst.brake.get().until.Sub(now)
	if wait <= 0 {
		m.startAgainLocked(inst, now)
		return
	}
	r := &revival{over: make(chan struct{})}
	r.timer = time.AfterFunc(wait, func() { m.tasks.do(func() { m.revive(inst, r) }) })
	inst.revival = r
}

// startAgainLocked begins a start that nobody need wait for.
func (m *Manager) startAgainLocked(inst *instance, now time.Time) {
	m.beginWakeLocked(inst, tenant.PriorityMachine, now).joinLocked(tenant.PriorityMachine)
}

// revive begins the start that r stands for, unless something else has come first.
func (m *Manager) revive(inst *instance, r *revival) {
	for {
		inst.mu.Lock()
		if inst.revival != r || inst.removed || m.ctx.Err() != nil {
			inst.mu.Unlock()
			return
		}
		op := inst.op
		if op == nil {
			m.startAgainLocked(inst, time.Now())
		}
		inst.mu.Unlock()
		if op == nil {
			return
		}
		select {
		case <-op.done:
		case <-m.ctx.Done():
		}
	}
}

// dropRevivalLocked gives up the start to come, or has it begun.
func (i *instance) dropRevivalLocked() {
	if i.revival != nil {
		i.revival.timer.Stop()
		close(i.revival.over)
		i.revival = nil
	}
}

// restForGoodLocked makes a sleeping instance one that only a request wakes.
func (i *instance) restForGoodLocked() {
	i.reviving = false
	i.dropRevivalLocked()
}

// heldLocked gives a channel that is closed when it is time to look again, where an
// instance is about to be started anyway; nil where a request need not wait for that.
func (i *instance) heldLocked(now time.Time) <-chan struct{} {
	if i.revival == nil || i.brake.get().until.Sub(now) > maxHold {
		return nil
	}
	return i.revival.over
}

// keepTrying starts an instance again and again that shall be up, within the brake.
func (m *Manager) keepTrying(inst *instance) {
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if inst.op == nil && !inst.removed && inst.state == tenant.Asleep && inst.revival == nil && !inst.brake.get().spent && !m.isPaused(inst.id) &&
		m.ctx.Err() == nil && m.restartPolicy(inst.id) != config.RestartNever {
		m.reviveLocked(inst, time.Now())
	}
}
