package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
)

// idleRetry is the wait after a doze or a stop that failed.
const idleRetry = 10 * time.Second

// dozeRetry is the wait after a doze for which an app has not stopped in time: each
// attempt holds it up.
const dozeRetry = time.Minute

// dozeTimeout bounds how long ten-init may take to freeze an app.
const dozeTimeout = 5 * time.Second

// watchIdleLocked sets the timer for the next moment at which the instance may be
// idle enough to doze or stop.
func (m *Manager) watchIdleLocked(inst *instance) {
	m.watchHealthLocked(inst)
	if inst.timer != nil {
		inst.timer.Stop()
		inst.timer = nil
	}
	now := time.Now()
	next := earliest(m.restLocked(inst, now))
	if look := m.cpuLookLocked(inst, now, next); !look.IsZero() {
		next = look // it does not rest before
	}
	if next.IsZero() {
		return
	}
	inst.timer = time.AfterFunc(max(next.Sub(now), 0), func() { m.tasks.do(func() { m.checkIdle(inst) }) })
}

// idleTimeoutsLocked gives the idle times after which the instance dozes and stops
// from its present state, 0 for never.
func (m *Manager) idleTimeoutsLocked(inst *instance) (doze, stop time.Duration) {
	service, ok := m.config.Load().Services[inst.id.Service]
	if !ok {
		return 0, 0
	}
	if inst.state == tenant.Awake && !inst.cannotDoze {
		doze = service.DozeTimeout
	}
	return doze, service.IdleTimeout
}

// checkIdle dozes or stops the instance if it is idle, under the lock that admits
// requests, or looks again later.
func (m *Manager) checkIdle(inst *instance) {
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if m.ctx.Err() != nil || inst.op != nil || (inst.state != tenant.Awake && inst.state != tenant.Dozing) {
		return
	}
	now := time.Now()
	doze, stop := m.restLocked(inst, now)
	look := m.cpuLookLocked(inst, now, earliest(doze, stop))
	if due(look, now) {
		if !m.lookAtCPU(inst) {
			return // whoever changed it sees to the rest
		}
		now = time.Now()
		doze, stop = m.restLocked(inst, now)
		look = m.cpuLookLocked(inst, now, earliest(doze, stop))
	}
	switch {
	case !look.IsZero():
		m.watchIdleLocked(inst)
	case due(stop, now):
		m.beginStopLocked(inst, "idle")
	case due(doze, now):
		m.beginDozeLocked(inst)
	default:
		m.watchIdleLocked(inst)
	}
}

// beginDozeLocked begins to freeze an awake instance.
func (m *Manager) beginDozeLocked(inst *instance) *operation {
	op := inst.beginLocked(false)
	op.becomes = tenant.Dozing
	inst.setLocked(tenant.Dozing, time.Now(), "")
	m.tasks.do(func() { m.doze(inst, op) })
	return op
}

func (m *Manager) doze(inst *instance, op *operation) {
	ctx, cancel := context.WithTimeout(m.ctx, dozeTimeout)
	defer cancel()
	begun := time.Now()
	m.resting(inst.id)
	m.endProbe(inst)
	m.meter(inst)
	_, err := m.doorbell(inst.id).Do(ctx, ingress.Doze)
	if err == nil {
		m.meter(inst) // what it keeps while it dozes
	}
	var refusal *ingress.Refusal
	inst.mu.Lock()
	switch {
	case err == nil:
		m.observer.Happened(inst.id, tenant.Dozed)
		m.tellBy(op.actor, event.Dozed, inst.id, slog.Duration("dur", time.Since(begun)))
	case errors.As(err, &refusal) && refusal.Class == ingress.ClassUnsupported:
		inst.cannotDoze = true
		inst.setLocked(tenant.Awake, time.Now(), "")
		m.log.Warn("cannot doze, stays awake until it sleeps", "instance", inst.id, "err", err)
	case refusal != nil && refusal.Class == ingress.ClassNotFrozen:
		inst.process.own().patience = time.Now().Add(dozeRetry)
		inst.setLocked(tenant.Awake, time.Now(), "")
		m.log.Warn("did not doze in time", "instance", inst.id, "err", err)
	case refusal != nil:
		// It is starting or ending, so it does not doze.
		inst.process.own().patience = time.Now().Add(idleRetry)
		inst.setLocked(tenant.Awake, time.Now(), "")
		m.log.Warn("doze refused", "instance", inst.id, "err", err)
	default:
		// Whether it dozes is not known. Taken for dozing it is thawed before it gets
		// anything to do.
		m.log.Warn("doze failed", "instance", inst.id, "err", err)
	}
	m.endLocked(inst, op, explainDoze(inst.id, err))
	inst.mu.Unlock()
	if err != nil && m.ctx.Err() == nil {
		m.look(m.ctx, inst)
	}
}

// beginStopLocked begins to stop an instance that runs.
func (m *Manager) beginStopLocked(inst *instance, reason string) *operation {
	return m.beginStopForLocked(inst, reason, nil)
}

// beginStopForLocked is beginStopLocked for a stop that leads to f.
func (m *Manager) beginStopForLocked(inst *instance, reason string, f *fate) *operation {
	op := inst.beginLocked(false)
	op.fate = f
	inst.setLocked(tenant.Stopping, time.Now(), reason)
	m.tasks.do(func() { m.stop(inst, op, reason) })
	return op
}

func (m *Manager) stop(inst *instance, op *operation, reason string) {
	grace := m.stopGrace(inst)
	if op.fate != nil {
		grace = min(grace, hastyGrace)
	}
	begun := time.Now()
	m.endProbe(inst)
	m.drain(m.ctx, inst, grace)
	ctx, cancel := context.WithTimeout(m.ctx, m.stopGrace(inst)+slack)
	defer cancel()
	m.meter(inst)
	inst.mu.Lock()
	generation := inst.generation
	inst.mu.Unlock()
	err := m.controller.Stop(ctx, inst.id)
	if err == nil {
		m.meterEnd(ctx, inst, generation)
	}
	inst.mu.Lock()
	now := time.Now()
	f := fate{state: tenant.Asleep}
	if op.fate != nil {
		f = *op.fate
	}
	if err == nil {
		inst.setLocked(f.state, now, f.reason)
		inst.rested = cmp.Or(f.rested, reason)
		m.observer.Happened(inst.id, tenant.Slept)
		m.tellBy(op.actor, event.Stopped, inst.id, slog.String("reason", reason), slog.Duration("dur", now.Sub(begun)))
	} else {
		inst.process.own().patience = now.Add(idleRetry)
		inst.setLocked(tenant.Awake, now, "")
		m.log.Error("stop failed", "instance", inst.id, "err", err)
	}
	m.endLocked(inst, op, err)
	if err == nil && m.ctx.Err() == nil {
		m.settledLocked(inst, now, f)
	}
	inst.mu.Unlock()
	if err != nil && m.ctx.Err() == nil {
		m.look(m.ctx, inst)
	}
}

// stopGrace is what an instance gets to end, once for its requests and once for itself.
func (m *Manager) stopGrace(inst *instance) time.Duration {
	if service, ok := m.config.Load().Services[inst.id.Service]; ok {
		return service.StopGrace
	}
	return 0
}
