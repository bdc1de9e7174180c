package lifecycle

import (
	"context"
	"errors"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
)

// idleRetry is the wait after a doze or a stop that failed.
const idleRetry = 10 * time.Second

// dozeTimeout bounds how long ten-init may take to freeze an app.
const dozeTimeout = 5 * time.Second

// watchIdleLocked sets the timer for the next moment at which the instance may be
// idle enough to doze or stop.
func (m *Manager) watchIdleLocked(inst *instance) {
	if inst.timer != nil {
		inst.timer.Stop()
		inst.timer = nil
	}
	now := time.Now()
	next, stop := m.restLocked(inst, now)
	if next.IsZero() || !stop.IsZero() && stop.Before(next) {
		next = stop
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
	switch {
	case due(stop, now):
		m.beginStopLocked(inst, "idle")
	case due(doze, now):
		m.beginDozeLocked(inst)
	default:
		m.watchIdleLocked(inst)
	}
}

// beginDozeLocked begins to freeze an awake instance.
func (m *Manager) beginDozeLocked(inst *instance) {
	op := inst.beginLocked(false)
	op.becomes = tenant.Dozing
	inst.setLocked(tenant.Dozing, time.Now(), "")
	m.tasks.do(func() { m.doze(inst, op) })
}

func (m *Manager) doze(inst *instance, op *operation) {
	ctx, cancel := context.WithTimeout(m.ctx, dozeTimeout)
	defer cancel()
	begun := time.Now()
	m.resting(inst.id)
	_, err := m.doorbell(inst.id).Do(ctx, ingress.Doze)
	var refusal *ingress.Refusal
	inst.mu.Lock()
	switch {
	case err == nil:
		m.log.Info("dozing", "instance", inst.id, "dur", time.Since(begun))
	case errors.As(err, &refusal) && refusal.Class == ingress.ClassUnsupported:
		inst.cannotDoze = true
		inst.setLocked(tenant.Awake, time.Now(), "")
		m.log.Warn("cannot doze, stays awake until it sleeps", "instance", inst.id, "err", err)
	case refusal != nil:
		// It is starting or ending, so it does not doze.
		inst.patience = time.Now().Add(idleRetry)
		inst.setLocked(tenant.Awake, time.Now(), "")
		m.log.Warn("doze refused", "instance", inst.id, "err", err)
	default:
		// Whether it dozes is not known. Taken for dozing it is thawed before it gets
		// anything to do.
		m.log.Warn("doze failed", "instance", inst.id, "err", err)
	}
	m.watchIdleLocked(inst)
	m.endLocked(inst, op, nil)
	inst.mu.Unlock()
	if err != nil && m.ctx.Err() == nil {
		m.look(m.ctx, inst)
	}
}

// beginStopLocked begins to stop an instance that runs.
func (m *Manager) beginStopLocked(inst *instance, reason string) *operation {
	op := inst.beginLocked(false)
	inst.setLocked(tenant.Stopping, time.Now(), reason)
	m.tasks.do(func() { m.stop(inst, op, reason) })
	return op
}

func (m *Manager) stop(inst *instance, op *operation, reason string) {
	timeout := slack
	if service, ok := m.config.Load().Services[inst.id.Service]; ok {
		timeout += service.StopGrace
	}
	ctx, cancel := context.WithTimeout(m.ctx, timeout)
	defer cancel()
	begun := time.Now()
	m.resting(inst.id)
	err := m.controller.Stop(ctx, inst.id)
	inst.mu.Lock()
	now := time.Now()
	if err == nil {
		inst.setLocked(tenant.Asleep, now, op.fault)
		m.log.Info("asleep", "instance", inst.id, "reason", reason, "dur", now.Sub(begun))
	} else {
		inst.patience = now.Add(idleRetry)
		inst.setLocked(tenant.Awake, now, "")
		m.watchIdleLocked(inst)
		m.log.Error("stop failed", "instance", inst.id, "err", err)
	}
	m.endLocked(inst, op, err)
	inst.mu.Unlock()
	switch {
	case m.ctx.Err() != nil:
	case err == nil:
		m.fellAsleep(inst)
	default:
		m.look(m.ctx, inst)
	}
}
