package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tenement.dev/internal/config"
	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// An armed instance is asleep, but its unit runs: ten-init has everything set up and
// waits with the app until somebody wants it awake. inst.armed says so; it changes
// within operations, or where a listing shows that the unit has ended.

const (
	// armTimeout bounds arming: a request may wait for its end.
	armTimeout = 15 * time.Second
	// armRetry is the wait before the next try to arm an instance where one has failed, or
	// its unit has ended; it doubles with each further one up to armRetryMax.
	armRetry    = time.Minute
	armRetryMax = time.Hour
	// armedCores is the share of a processor that an armed instance may use, which has
	// nothing to do: its ten-init is not ours, then.
	armedCores = 0.03
)

// Marks remembers which instances are armed, beyond the daemon's end and not beyond the
// machine's: that a ten-init says so is not enough, since a tenant may have made its own.
type Marks interface {
	// Set remembers that an instance is armed, and the fingerprint of its spec.
	Set(id tenant.ID, fingerprint string) error
	// Clear forgets it; to clear what is not set is no error.
	Clear(id tenant.ID) error
	// Get gives the fingerprint, empty where nothing is set.
	Get(id tenant.ID) (fingerprint string, err error)
	// All gives those that are set.
	All() ([]tenant.ID, error)
}

// arming is what is known of arming an instance; its fields are guarded by its mu.
type arming struct {
	failures int       // in a row
	after    time.Time // not before
	cpu      time.Duration
	cpuAt    time.Time // zero: cpu is not known
}

// failLocked puts the next try off.
func (a *arming) failLocked(now time.Time) {
	wait := armRetryMax
	if a.failures < 6 {
		wait = min(armRetry<<a.failures, armRetryMax)
	}
	a.failures++
	a.after = now.Add(wait)
}

// unitUp reports whether the instance's unit is believed to run.
func unitUp(inst *instance) bool { return believedRunning(inst) || inst.armed }

// setArmedLocked notes whether the instance is armed, which it is while it sleeps.
func (m *Manager) setArmedLocked(inst *instance, armed bool) {
	if inst.armed == armed {
		return
	}
	inst.armed = armed
	inst.generation++
	inst.arming.own().cpuAt = time.Time{}
	m.mu.Lock()
	defer m.mu.Unlock()
	if armed {
		m.armed[inst] = true
		m.sleepers.remove(inst)
	} else {
		delete(m.armed, inst)
	}
}

// takeArmed has an instance count as armed no longer: it is about to be woken, or its
// unit has been stopped. It reports whether it was armed.
func (m *Manager) takeArmed(inst *instance) bool {
	inst.mu.Lock()
	armed := inst.armed
	m.setArmedLocked(inst, false)
	inst.mu.Unlock()
	if armed {
		m.clearMark(inst)
	}
	return armed
}

func (m *Manager) clearMark(inst *instance) {
	if err := m.marks.Clear(inst.id); err != nil {
		m.log.Error("mark of armed instance not cleared", "instance", inst.id, "err", err)
	}
}

// armableLocked reports whether a sleeping instance may be armed, whether or not it is
// its turn yet.
func (m *Manager) armableLocked(inst *instance) bool {
	_, known := m.config.Load().Services[inst.id.Service]
	return known && inst.state == tenant.Asleep && !inst.removed && !inst.reviving && !m.isPaused(inst.id)
}

// arm arms a sleeping instance that still can be.
func (m *Manager) arm(inst *instance) {
	begun := time.Now()
	inst.mu.Lock()
	if m.ctx.Err() != nil || inst.op != nil || inst.armed || !m.armableLocked(inst) || inst.armAt().After(begun) {
		inst.mu.Unlock()
		return
	}
	op := inst.beginLocked(false)
	inst.mu.Unlock()

	err := m.setUp(inst)

	inst.mu.Lock()
	defer inst.mu.Unlock()
	switch {
	case err == nil:
		m.setArmedLocked(inst, true)
		m.log.Debug("armed", "instance", inst.id, "dur", time.Since(begun))
	case m.ctx.Err() == nil:
		inst.arming.own().failLocked(time.Now())
		m.log.Warn("not armed", "instance", inst.id, "err", err)
	}
	m.endLocked(inst, op, nil)
	if inst.loaded && m.ctx.Err() == nil {
		m.tuneLocked(inst)
		m.tasks.do(func() { m.fellAsleep(inst) })
	}
}

// errNotArmed says that a ten-init has started the app instead.
var errNotArmed = errors.New("it has started the app")

// setUp has the instance's ten-init started and wait. Where that fails nothing runs.
func (m *Manager) setUp(inst *instance) error {
	ctx, cancel := context.WithTimeout(m.ctx, armTimeout)
	defer cancel()
	if err := m.load(ctx, inst, m.config.Load()); err != nil {
		return err
	}
	ringing, give := context.WithCancelCause(ctx)
	stop := m.watchFailure(ringing, inst, give)
	answer, err := m.doorbell(inst.id).Do(ringing, ingress.Arm)
	stop()
	if err == nil && !answer.Armed {
		err = errNotArmed
	}
	inst.mu.Lock()
	fingerprint := inst.unit.get().fingerprint
	inst.mu.Unlock()
	if err == nil {
		// Only now: before, something else may run there.
		err = m.marks.Set(inst.id, fingerprint)
	}
	if err == nil || m.ctx.Err() != nil {
		return err // the next daemon stops what it has no mark of
	}
	// A call that was not answered would start the unit again and again.
	tidying, done := context.WithTimeout(m.ctx, slack)
	defer done()
	m.clearMark(inst)
	return errors.Join(err, m.unload(tidying, inst))
}

// beginDisarmLocked begins to stop the unit of an armed instance, which sleeps on; nil
// where that cannot be now.
func (m *Manager) beginDisarmLocked(inst *instance, reason string) *operation {
	if !inst.armed || inst.op != nil || m.ctx.Err() != nil {
		return nil
	}
	op := inst.beginLocked(false)
	m.setArmedLocked(inst, false)
	m.log.Debug("disarmed", "instance", inst.id, "reason", reason)
	m.tasks.do(func() {
		m.clearMark(inst)
		m.stopUnit(inst, op)
	})
	return op
}

// stopUnit stops the unit of an instance that is believed to be asleep, and ends op.
func (m *Manager) stopUnit(inst *instance, op *operation) {
	ctx, cancel := context.WithTimeout(m.ctx, m.stopGrace(inst)+slack)
	defer cancel()
	err := m.controller.Stop(ctx, inst.id)
	if err != nil && m.ctx.Err() == nil {
		m.log.Error("unit not stopped", "instance", inst.id, "err", err)
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	m.endLocked(inst, op, err)
	if m.ctx.Err() != nil {
		return
	}
	if inst.loaded {
		m.tasks.do(func() { m.fellAsleep(inst) })
	}
	if err != nil {
		m.tasks.do(func() { m.look(m.ctx, inst) })
	}
}

// settleArmedLocked brings an armed instance that has no operation in line with status.
func (m *Manager) settleArmedLocked(inst *instance, now time.Time, status units.Status) {
	if running(status) {
		if !status.Doorbell {
			inst.loaded, inst.unit.own().fingerprint = true, "" // from clean units, with a doorbell
			m.beginDisarmLocked(inst, "lost its doorbell")
			return
		}
		m.tuneLocked(inst)
		return
	}
	// It had no app that could have failed.
	m.log.Info("armed no longer", "instance", inst.id, "unit", status.Active, "exit", describeExit(status.Exit))
	m.setArmedLocked(inst, false)
	inst.arming.own().failLocked(now)
	inst.loaded = status.Doorbell
	if status.Active == "failed" {
		inst.unit.own().fingerprint = ""
	}
	m.tasks.do(func() {
		m.clearMark(inst)
		m.fellAsleep(inst)
	})
}

// adoptArmed takes over an instance whose ten-init says that it waits with the app. It
// is believed where an earlier daemon has marked it, and kept if that was with the
// present configuration; else it is stopped.
func (m *Manager) adoptArmed(ctx context.Context, inst *instance, op *operation) {
	fingerprint, err := m.markOf(inst.id)
	var spec tenant.Spec
	if err == nil {
		spec, err = m.specOf(ctx, inst, m.config.Load())
	}
	inst.mu.Lock()
	now := time.Now()
	op.wake = false // who has joined looks again
	left := inst.takeBeforeLocked()
	inst.setLocked(tenant.Asleep, now, left.reason)
	if !left.rests.IsZero() {
		inst.since = left.rests
	}
	if err == nil && spec.Fingerprint() == fingerprint {
		inst.unit.own().fingerprint = fingerprint
		m.setArmedLocked(inst, true)
		m.log.Debug("adopted armed", "instance", inst.id)
		m.tuneLocked(inst)
		m.endLocked(inst, op, nil)
		inst.mu.Unlock()
		return
	}
	if errors.Is(err, errNoMark) {
		inst.arming.own().failLocked(now)
	}
	m.log.Info("found armed and not kept so", "instance", inst.id, "err", err)
	inst.mu.Unlock()
	m.stopUnit(inst, op)
}

// errNoMark says that nobody has armed an instance, whatever its ten-init says.
var errNoMark = errors.New("nobody has armed it")

// markOf gives the fingerprint with which an instance was armed.
func (m *Manager) markOf(id tenant.ID) (string, error) {
	if m.marks == nil {
		return "", errNoMark
	}
	fingerprint, err := m.marks.Get(id)
	if err == nil && fingerprint == "" {
		err = errNoMark
	}
	return fingerprint, err
}

// stale reports whether an armed instance would be loaded anew by its wake.
func (m *Manager) stale(ctx context.Context, inst *instance, cfg *config.Config) bool {
	spec, err := m.specOf(ctx, inst, cfg)
	inst.mu.Lock()
	defer inst.mu.Unlock()
	return err == nil && inst.armed && inst.unit.get().fingerprint != spec.Fingerprint()
}

// clearStaleMarks forgets marks of instances whose units do not run.
func (m *Manager) clearStaleMarks(list []units.Status) error {
	if m.marks == nil {
		return nil
	}
	marks, err := m.marks.All()
	if err != nil {
		return fmt.Errorf("read marks of armed instances: %w", err)
	}
	runs := map[tenant.ID]bool{}
	for _, status := range list {
		runs[status.ID] = running(status)
	}
	for _, id := range marks {
		if runs[id] {
			continue
		}
		if err := m.marks.Clear(id); err != nil {
			return fmt.Errorf("clear mark of %s: %w", id, err)
		}
	}
	return nil
}

// checkArmed stops armed instances that work: what is set up only has nothing to do.
func (m *Manager) checkArmed() {
	if m.cpu == nil {
		return
	}
	for _, inst := range m.armedInstances() {
		used, err := m.cpu(inst.id)
		if err != nil {
			continue
		}
		inst.mu.Lock()
		now := time.Now()
		a := inst.arming.own()
		if inst.armed && inst.op == nil && !a.cpuAt.IsZero() && float64(used.Used-a.cpu) > armedCores*float64(now.Sub(a.cpuAt)) {
			a.failures = 6 // it had its chance
			a.failLocked(now)
			m.log.Warn("armed, and works all the same: stopped", "instance", inst.id, "cpu", used.Used-a.cpu, "within", now.Sub(a.cpuAt))
			m.beginDisarmLocked(inst, "it works")
		}
		a.cpu, a.cpuAt = used.Used, now
		inst.mu.Unlock()
	}
}

// armedInstances are the armed instances, in no order.
func (m *Manager) armedInstances() []*instance {
	m.mu.RLock()
	defer m.mu.RUnlock()
	list := make([]*instance, 0, len(m.armed))
	for inst := range m.armed {
		list = append(list, inst)
	}
	return list
}
