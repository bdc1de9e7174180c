package lifecycle

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// maxOperatorLease bounds a lease of an operator: who wants it for longer wants a
// service without timeouts.
const maxOperatorLease = 366 * 24 * time.Hour

// leasesLocked lists the leases that have not ended.
func (i *instance) leasesLocked(now time.Time) []tenant.Lease {
	var list []tenant.Lease
	until := i.leases.get()
	if now.Before(until.app) {
		list = append(list, tenant.Lease{Holder: tenant.HolderApp, Until: until.app})
	}
	if now.Before(until.operator) {
		list = append(list, tenant.Lease{Holder: tenant.HolderOperator, Until: until.operator})
	}
	return list
}

// KeepAwake implements tenant.Endpoint.
func (l *lease) KeepAwake(d time.Duration) { l.manager.takeAppLease(l.inst, d) }

// takeAppLease gives an app the lease that it asks for, or takes it back with 0. Only an
// awake instance can have one: what a stopping one still says does not keep the next one
// awake.
func (m *Manager) takeAppLease(inst *instance, d time.Duration) {
	service, ok := m.config.Load().Services[inst.id.Service]
	if !ok {
		return
	}
	var until time.Time
	if d = min(d, service.KeepAwakeMax); d > 0 {
		until = time.Now().Add(d)
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if inst.state != tenant.Awake || inst.leases.get().app.Equal(until) {
		return
	}
	inst.leases.own().app = until
	inst.changedLocked()
	m.watchIdleLocked(inst)
}

// KeepAwake has an instance awake, waking it if need be, and keeps it from resting for
// d. With 0 all leases on it end, its app's too, and nothing is woken. It returns when
// the registry has it.
func (m *Manager) KeepAwake(ctx context.Context, id tenant.ID, d time.Duration) (tenant.Snapshot, error) {
	if d < 0 || d > maxOperatorLease {
		return tenant.Snapshot{}, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "keep awake", ID: id,
			Msg:  fmt.Sprintf("an instance cannot be kept awake for %v", d),
			Hint: "say up to a year, as in 2h; a service without timeouts never sleeps",
		}
	}
	inst, err := m.find(ctx, "keep awake", id)
	if err != nil {
		return tenant.Snapshot{}, err
	}
	if d == 0 {
		inst.mu.Lock()
		if inst.dropLeasesLocked() && believedRunning(inst) && inst.op == nil {
			m.watchIdleLocked(inst)
		}
		inst.mu.Unlock()
	} else if err := m.takeLease(ctx, inst, d); err != nil {
		return tenant.Snapshot{}, err
	}
	if err := m.saveNow(ctx); err != nil {
		return tenant.Snapshot{}, fmt.Errorf("save lease of %s: %w", id, err)
	}
	m.tellOf(ctx, event.KeptAwake, id, slog.Duration("for", d))
	return m.Get(id)
}

// takeLease wakes an instance and counts as a request until the lease is taken, so that
// it does not go to rest in between. One that was stopped all the same is woken again.
func (m *Manager) takeLease(ctx context.Context, inst *instance, d time.Duration) error {
	if _, err := m.service("keep awake", inst.id); err != nil {
		return err
	}
	inst.mu.Lock()
	inst.requests++
	inst.mu.Unlock()
	defer m.countOut(inst, false)
	ctx = tenant.WithCause(ctx, tenant.CauseOperator)
	for force := true; ; force = false {
		if _, err := m.awaken(ctx, inst, tenant.PriorityOperator, force); err != nil {
			return err
		}
		inst.mu.Lock()
		// It may have ended, or begun to, since it was awake.
		taken := inst.op == nil && inst.state == tenant.Awake
		if taken {
			inst.leases.own().operator = time.Now().Add(d)
			inst.changedLocked()
		}
		inst.mu.Unlock()
		if taken {
			return nil
		}
	}
}

// dropLeasesLocked ends all leases on an instance and reports whether there were any.
func (i *instance) dropLeasesLocked() bool {
	if i.leases.get() == (leases{}) {
		return false
	}
	*i.leases.own() = leases{}
	i.changedLocked()
	return true
}

// saveNow has what is not saved yet written to the registry.
func (m *Manager) saveNow(ctx context.Context) error {
	select {
	case m.saving.running <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-m.saving.running }()
	return m.save(ctx)
}
