package lifecycle

import (
	"context"
	"fmt"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// startWidth is how many of the configured instances are started at a time.
const startWidth = 4

// wipeTimeout bounds removing an instance's data, which may be many files.
const wipeTimeout = 10 * time.Minute

// Spawn registers an instance, if it is new, and wakes it. What nothing can ever
// run, because the machine or the configuration does not allow it, is not
// registered; one whose process ends stays registered and is tried again with its
// next request.
func (m *Manager) Spawn(ctx context.Context, id tenant.ID) (s tenant.Snapshot, created bool, err error) {
	if err := m.awaitReady(ctx, "spawn", id); err != nil {
		return tenant.Snapshot{}, false, err
	}
	service, err := m.service("spawn", id)
	if err != nil {
		return tenant.Snapshot{}, false, err
	}
	inst, added, err := m.register(ctx, id, service.MaxInstances, tenant.Weight{})
	if err != nil {
		return tenant.Snapshot{}, false, err
	}
	err = m.wakeByHand(ctx, inst)
	if added && m.undo(ctx, inst, err) {
		return tenant.Snapshot{}, false, err
	}
	s, gerr := m.Get(id)
	if err == nil {
		err = gerr
	}
	return s, added, err
}

// undo removes an instance that was created just now, if err says that nothing can
// ever run it as things are. It reports whether that was so.
func (m *Manager) undo(ctx context.Context, inst *instance, err error) bool {
	switch tenant.CodeOf(err) {
	case tenant.CodeUnsupported, tenant.CodeConflict, tenant.CodeInvalid, tenant.CodeLimit, tenant.CodeNotFound:
	default:
		return false
	}
	if derr := m.destroy(context.WithoutCancel(ctx), inst); derr != nil {
		m.log.Error("creation not undone", "instance", inst.id, "err", derr)
	}
	return true
}

// Wake has an instance awake, also one that has failed.
func (m *Manager) Wake(ctx context.Context, id tenant.ID) (tenant.Snapshot, error) {
	inst, err := m.find(ctx, "wake", id)
	if err != nil {
		return tenant.Snapshot{}, err
	}
	if err := m.wakeByHand(ctx, inst); err != nil {
		return tenant.Snapshot{}, err
	}
	return m.Get(id)
}

// wakeByHand wakes an instance for an operator: what has braked it before is
// forgotten.
func (m *Manager) wakeByHand(ctx context.Context, inst *instance) error {
	if _, err := m.service("wake", inst.id); err != nil {
		return err
	}
	inst.mu.Lock()
	inst.requests++
	inst.mu.Unlock()
	defer m.countOut(inst, false)
	_, err := m.awaken(tenant.WithCause(ctx, tenant.CauseOf(ctx, tenant.CauseOperator)), inst, tenant.PriorityOperator, true)
	return err
}

// Stop puts an instance to sleep now, whatever it does. It stays registered and its
// next request wakes it. Where its service has storage_persist = false its data is
// removed.
func (m *Manager) Stop(ctx context.Context, id tenant.ID) (tenant.Snapshot, error) {
	inst, err := m.find(ctx, "stop", id)
	if err != nil {
		return tenant.Snapshot{}, err
	}
	if err := m.putToSleep(ctx, inst, "asked to", true); err != nil {
		return tenant.Snapshot{}, err
	}
	if service, ok := m.Config().Services[id.Service]; ok && !service.StoragePersist {
		if err := m.wipe(ctx, inst); err != nil {
			return tenant.Snapshot{}, err
		}
	}
	return m.Get(id)
}

// Restart stops an instance and starts it with the present configuration; one that
// has failed is started again.
func (m *Manager) Restart(ctx context.Context, id tenant.ID) (tenant.Snapshot, error) {
	inst, err := m.find(ctx, "restart", id)
	if err != nil {
		return tenant.Snapshot{}, err
	}
	if err := m.putToSleep(ctx, inst, "restart", false); err != nil {
		return tenant.Snapshot{}, err
	}
	if err := m.wakeByHand(tenant.WithCause(ctx, tenant.CauseRestart), inst); err != nil {
		return tenant.Snapshot{}, err
	}
	return m.Get(id)
}

// Destroy stops an instance, removes its data and forgets it.
func (m *Manager) Destroy(ctx context.Context, id tenant.ID) error {
	inst, err := m.find(ctx, "destroy", id)
	if err != nil {
		return err
	}
	return m.destroy(ctx, inst)
}

// awaitReady waits until the Manager has adopted what runs, which the service manager has
// to tell it.
func (m *Manager) awaitReady(ctx context.Context, op string, id tenant.ID) error {
	select {
	case <-m.ready:
		return nil
	default:
	}
	timer := time.NewTimer(slack)
	defer timer.Stop()
	select {
	case <-m.ready:
		return nil
	case <-ctx.Done():
	case <-timer.C:
	}
	return &tenant.Error{
		Code: tenant.CodeUnavailable, Op: op, ID: id, Err: context.Cause(ctx),
		Msg:        "the daemon is still starting",
		Hint:       "does systemd answer? `systemctl list-jobs` shows what it is busy with",
		RetryAfter: retryHeld,
	}
}

// find gives a registered instance once the Manager is ready.
func (m *Manager) find(ctx context.Context, op string, id tenant.ID) (*instance, error) {
	if err := m.awaitReady(ctx, op, id); err != nil {
		return nil, err
	}
	inst, ok := m.lookup(id)
	if !ok {
		return nil, tenant.NoInstance(op, id)
	}
	return inst, nil
}

// yieldAfter is for how long a wake may wait for its place while somebody wants the
// instance down: where there is a place it has it much sooner.
const yieldAfter = 500 * time.Millisecond

// endAfter is for how long a cold start that has begun may go on while somebody wants the
// instance down: more than most need, so that who waits for it is served first.
const endAfter = 3 * time.Second

// exclusive waits until the instance has no operation and begins one; begin is
// called with the instance's lock held and may give nil to do nothing.
func (m *Manager) exclusive(ctx context.Context, inst *instance, begin func() *operation) error {
	return m.exclusiveAfter(ctx, inst, nil, nil, begin)
}

// exclusiveDown is exclusive for what wants the instance down: a wake that waits for its
// place gives way, and none of the Manager's own follows one that has failed.
func (m *Manager) exclusiveDown(ctx context.Context, inst *instance, begin func() *operation) error {
	return m.exclusiveAfter(ctx, inst, inst.yieldLocked, nil, begin)
}

// exclusiveNow is exclusiveDown that ends also a wake which has begun.
func (m *Manager) exclusiveNow(ctx context.Context, inst *instance, begin func() *operation) error {
	return m.exclusiveAfter(ctx, inst, inst.hurryLocked, inst.giveUpLocked, begin)
}

// exclusiveAfter is exclusive that has yield called with an operation that goes on for
// yieldAfter, and end with one that goes on for endAfter; each may be nil.
func (m *Manager) exclusiveAfter(ctx context.Context, inst *instance, yield, end func(*operation), begin func() *operation) error {
	for {
		inst.mu.Lock()
		running := inst.op
		var op *operation
		if running == nil {
			op = begin()
		}
		inst.mu.Unlock()
		switch {
		case running != nil:
			if err := m.awaitOther(ctx, inst, running, yield, end); err != nil {
				return err
			}
		case op == nil:
			return nil
		default:
			select {
			case <-op.done:
				return op.err
			case <-ctx.Done():
				return leave(ctx, inst.id)
			}
		}
	}
}

// awaitOther waits for the end of an operation, and has yield and end called meanwhile.
func (m *Manager) awaitOther(ctx context.Context, inst *instance, op *operation, yield, end func(*operation)) error {
	late, tooLate := time.NewTimer(yieldAfter), time.NewTimer(endAfter)
	defer late.Stop()
	defer tooLate.Stop()
	for {
		call := yield
		select {
		case <-op.done:
			return nil
		case <-ctx.Done():
			return leave(ctx, inst.id)
		case <-late.C:
		case <-tooLate.C:
			call = end
		}
		inst.mu.Lock()
		if inst.op == op && call != nil {
			call(op)
		}
		inst.mu.Unlock()
	}
}

// putToSleep stops an instance that runs or starts. Its leases end with the decision if
// that is for good.
func (m *Manager) putToSleep(ctx context.Context, inst *instance, reason string, forGood bool) error {
	dropped := false
	err := m.exclusiveNow(ctx, inst, func() *operation {
		if forGood {
			dropped = inst.dropLeasesLocked() || dropped
		}
		if !believedRunning(inst) {
			inst.restForGoodLocked()
			return nil
		}
		op := m.beginStopLocked(inst, reason)
		op.actor = tenant.ActorOf(ctx)
		return op
	})
	if dropped {
		_ = m.saveNow(ctx) // logged, and tried again; the stop is what matters
	}
	return err
}

// wipe removes the data of an instance, unless it has been woken since.
func (m *Manager) wipe(ctx context.Context, inst *instance) error {
	return m.exclusiveDown(ctx, inst, func() *operation {
		if believedRunning(inst) || inst.removed {
			return nil
		}
		op := inst.beginLocked(false)
		m.tasks.do(func() {
			err := m.soon(inst, m.unload)
			if err == nil {
				err = m.removeData(inst, false)
			}
			inst.mu.Lock()
			m.endLocked(inst, op, err)
			inst.mu.Unlock()
		})
		return op
	})
}

// destroy removes an instance. The registry forgets it last, so that a destroy that
// was cut short can be repeated.
func (m *Manager) destroy(ctx context.Context, inst *instance) error {
	return m.exclusiveNow(ctx, inst, func() *operation {
		if inst.removed {
			return nil
		}
		op := inst.beginLocked(false)
		inst.removed = true
		inst.setLocked(tenant.Stopping, inst.since, "")
		m.tasks.do(func() {
			err := m.remove(inst)
			inst.mu.Lock()
			inst.removed = err == nil
			inst.setLocked(tenant.Asleep, inst.since, "")
			if err == nil {
				m.tellOf(ctx, event.Destroyed, inst.id)
			}
			m.endLocked(inst, op, err)
			inst.mu.Unlock()
		})
		return op
	})
}

// removeData removes the data of an instance that is not loaded, or its doorbell could start it in
// between; with kept also what restores have kept of it: a stop leaves that, a destroy does not.
func (m *Manager) removeData(inst *instance, kept bool) error {
	ctx, cancel := context.WithTimeout(m.ctx, wipeTimeout)
	defer cancel()
	if err := m.controller.Wipe(ctx, inst.id, kept); err != nil {
		return fmt.Errorf("remove data of %s: %w", inst.id, err)
	}
	return nil
}

func (m *Manager) remove(inst *instance) error {
	m.endProbe(inst)
	m.drain(m.ctx, inst, m.stopGrace(inst))
	m.meter(inst)
	// The registry comes last: on a full disk it cannot be written until the data is gone.
	if err := m.soon(inst, m.unloadUnits); err != nil {
		return err
	}
	if err := m.removeData(inst, true); err != nil {
		return err
	}
	if len((*m.secrets.Load())[inst.id]) > 0 {
		if err := m.controller.RemoveSecrets(m.ctx, inst.id); err != nil {
			return err
		}
	}
	if err := m.store.Remove(m.ctx, inst.id); err != nil {
		return fmt.Errorf("unregister %s: %w", inst.id, err)
	}
	m.freePortOf(inst)
	m.forgetPause(inst.id) // first: one that takes the name may be paused
	m.forgetSecrets(inst.id)
	m.forget(inst)
	return nil
}

// registerListed makes instances known that the configuration lists, and adds those that are
// new to added. One that cannot be registered keeps no other from it.
func (m *Manager) registerListed(ids []tenant.ID, added map[tenant.ID]bool) {
	ctx := tenant.WithCause(m.ctx, tenant.CauseConfigured)
	for _, id := range ids {
		if m.pausedError(id) != nil {
			continue // startListed tells of it
		}
		service, err := m.service("start", id)
		isNew := false
		if err == nil {
			_, isNew, err = m.register(ctx, id, service.MaxInstances, tenant.Weight{})
		}
		if err != nil && m.ctx.Err() == nil {
			m.log.Error("configured instance not registered", "instance", id, "err", err)
		}
		if isNew {
			added[id] = true
		}
	}
}

// startListed wakes instances that the configuration lists; added are those that are new.
// One that fails keeps no other from starting.
func (m *Manager) startListed(ids []tenant.ID, added map[tenant.ID]bool) {
	places := make(chan struct{}, startWidth)
	for _, id := range ids {
		m.tasks.do(func() {
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
			case <-m.ctx.Done():
				return
			}
			if err := m.startOne(id, added[id]); tenant.CodeOf(err) == tenant.CodePaused {
				m.log.Info("configured instance not started: it is paused", "instance", id)
			} else if err != nil && m.ctx.Err() == nil {
				m.log.Error("configured instance not started", "instance", id, "err", err)
			}
		})
	}
}

// startOne starts a configured instance, and keeps trying where it fails. One that has
// failed for good in an earlier daemon's time stays so; a new one that nothing can ever run
// is removed again.
func (m *Manager) startOne(id tenant.ID, added bool) error {
	if err := m.pausedError(id); err != nil {
		return err
	}
	inst, ok := m.lookup(id)
	if !ok {
		return nil // registerListed has told why, or somebody has destroyed it
	}
	service, err := m.service("start", id)
	if err != nil {
		return err
	}
	ctx := tenant.WithCause(m.ctx, tenant.CauseConfigured)
	l, err := m.join(ctx, inst, service, tenant.Visit{})
	if err != nil {
		if !added || !m.undo(ctx, inst, err) {
			m.keepTrying(inst)
		}
		return err
	}
	l.release()
	return nil
}
