package lifecycle

import (
	"context"
	"fmt"
	"slices"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// maxTunes bounds how often tune looks again; reconcile does so later.
const maxTunes = 3

// limited is what is known of an instance's limits; its fields are guarded by the
// instance's mu.
type limited struct {
	// own are the instance's own, nil for none.
	own tenant.Limits
	// changing is where those who change limits take turns, nil before the first one.
	changing chan struct{}
}

// recoverLimits reads the instances' own limits.
func (m *Manager) recoverLimits(ctx context.Context) error {
	list, err := m.store.Limits(ctx)
	if err != nil {
		return fmt.Errorf("read registry: %w", err)
	}
	for _, l := range list {
		if inst, ok := m.lookup(l.ID); ok {
			inst.mu.Lock()
			inst.limits.own().own, inst.storage.own().bytes = l.Limits, l.Storage
			inst.mu.Unlock()
		}
	}
	return nil
}

// limitsLocked are the limits that are set for the instance, by itself or its service.
func (m *Manager) limitsLocked(inst *instance) tenant.Limits {
	if service, ok := m.config.Load().Services[inst.id.Service]; ok {
		return inst.limits.get().own.Or(service.Limits)
	}
	return inst.limits.get().own
}

// loadedLocked notes what limits the unit was loaded with.
func (m *Manager) loadedLocked(inst *instance, limits tenant.Limits) {
	u := inst.unit.own()
	u.loads++
	u.applied = limits.Or(tenant.Limits{tenant.LimitNoFile: limits.Get(tenant.LimitNoFile)})
	for _, weight := range m.boosts {
		u.applied[weight] = tenant.Boosted(limits.Get(weight))
	}
}

// wantedLocked are the limits that the unit should have now and does not. While the
// instance sleeps and wakes its weights are boosted: it gets up before the others.
func (m *Manager) wantedLocked(inst *instance) tenant.Limits {
	set, applied := m.limitsLocked(inst), inst.unit.get().applied
	boosted := inst.state != tenant.Awake && inst.state != tenant.Dozing && inst.state != tenant.Stopping
	missing := tenant.Limits{}
	for _, limit := range tenant.AllLimits() {
		_, isSet := set[limit]
		has, known := applied[limit]
		weight := slices.Contains(m.boosts, limit)
		if !limit.Live() || !isSet && !known && !weight {
			continue
		}
		want := set.Get(limit)
		if weight && boosted {
			want = tenant.Boosted(want)
		}
		if !known || has != want {
			missing[limit] = want
		}
	}
	return missing
}

// tuneLocked has the limits of a loaded instance brought in line, if they are not.
func (m *Manager) tuneLocked(inst *instance) {
	if !inst.loaded || inst.removed || len(m.wantedLocked(inst)) == 0 {
		return
	}
	m.tasks.do(func() {
		ctx, cancel := context.WithTimeout(m.ctx, slack)
		defer cancel()
		if err := m.tune(ctx, inst); err != nil && m.ctx.Err() == nil {
			m.log.Error("limits not set", "instance", inst.id, "err", err)
		}
	})
}

// tune sets the limits that a loaded instance should have and does not.
func (m *Manager) tune(ctx context.Context, inst *instance) error {
	leave, err := inst.enterLimits(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for range maxTunes {
		inst.mu.Lock()
		loads := inst.unit.get().loads
		var missing tenant.Limits
		if inst.loaded && !inst.removed {
			missing = m.wantedLocked(inst)
		}
		inst.mu.Unlock()
		if len(missing) == 0 {
			return nil
		}
		err := m.controller.SetLimits(ctx, inst.id, missing)
		if err != nil && tenant.CodeOf(err) != tenant.CodeUnsupported {
			return err
		}
		// What the machine cannot do it will not be able to the next time.
		inst.mu.Lock()
		inst.appliedLocked(loads, missing)
		inst.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// appliedLocked notes limits that were set, unless the unit was loaded anew meanwhile.
func (i *instance) appliedLocked(loads int, limits tenant.Limits) {
	if u := i.unit.own(); u.loads == loads {
		u.applied = limits.Or(u.applied)
	}
}

// enterLimits waits for the turn to change limits, which ends with leave.
func (i *instance) enterLimits(ctx context.Context) (leave func(), err error) {
	i.mu.Lock()
	l := i.limits.own()
	if l.changing == nil {
		l.changing = make(chan struct{}, 1)
	}
	changing := l.changing
	i.mu.Unlock()
	select {
	case changing <- struct{}{}:
		return func() { <-changing }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// SetLimits changes an instance's own limits, at once where it runs and the limit
// allows that, and for ever. It neither stops the instance nor loads it again.
func (m *Manager) SetLimits(ctx context.Context, id tenant.ID, change tenant.LimitChange) (tenant.LimitReport, error) {
	inst, err := m.find(ctx, "limit", id)
	if err == nil {
		_, err = m.service("limit", id)
	}
	if err == nil {
		err = change.Check()
	}
	if err == nil {
		err = m.changeLimits(ctx, inst, change)
	}
	if err != nil {
		return tenant.LimitReport{}, err
	}
	return m.Limits(ctx, id)
}

// changeLimits runs on the Manager's context: half a change is of use to nobody.
func (m *Manager) changeLimits(asked context.Context, inst *instance, change tenant.LimitChange) error {
	ctx, cancel := context.WithTimeout(m.ctx, slack)
	defer cancel()
	leave, err := inst.enterLimits(ctx)
	if err != nil {
		return err
	}
	defer leave()

	inst.mu.Lock()
	before, loads := inst.limits.get().own, inst.unit.get().loads
	after := change.Apply(before)
	inst.limits.own().own = after
	missing := m.wantedLocked(inst)
	inst.limits.own().own = before
	inst.mu.Unlock()
	// The machine comes first, since it may refuse; also what changes nothing, so that
	// an instance never has a limit of its own that it could not be loaded with.
	asks := tenant.Limits{}
	for limit, v := range change.Set {
		if limit.Live() {
			asks[limit], missing[limit] = v, v
		}
	}
	if err := m.applyLimits(ctx, inst.id, asks, missing); err != nil {
		return limitError(inst.id, err)
	}
	err = m.store.SetLimits(ctx, inst.id, after)
	inst.mu.Lock()
	defer inst.mu.Unlock()
	inst.appliedLocked(loads, missing)
	if err == nil {
		inst.limits.own().own = after
		m.tellOf(asked, event.Limits, inst.id, limitFields(after)...)
	}
	m.tuneLocked(inst) // it has woken or fallen asleep meanwhile, or all is taken back
	return err
}

// applyLimits sets limits, of which some were asked for. The others are taken back, or due anyway:
// where the machine lacks what they need, that is no reason to refuse.
func (m *Manager) applyLimits(ctx context.Context, id tenant.ID, asked, limits tenant.Limits) error {
	if len(limits) == 0 {
		return nil
	}
	err := m.controller.SetLimits(ctx, id, limits)
	if tenant.CodeOf(err) != tenant.CodeUnsupported || len(asked) == len(limits) {
		return err
	}
	if len(asked) > 0 {
		if err := m.controller.SetLimits(ctx, id, asked); err != nil {
			return err
		}
	}
	for limit, v := range limits {
		if _, ok := asked[limit]; ok {
			continue
		}
		if err := m.controller.SetLimits(ctx, id, tenant.Limits{limit: v}); err != nil && tenant.CodeOf(err) != tenant.CodeUnsupported {
			return err
		}
	}
	return nil
}

func limitError(id tenant.ID, err error) error {
	if tenant.CodeOf(err) != tenant.CodeInternal {
		return err
	}
	return &tenant.Error{
		Code: tenant.CodeUnavailable, Op: "limit", ID: id, Err: err,
		Msg: "systemd did not take the limits", Hint: "the daemon's log says why",
	}
}

// Limits tells what limits an instance has and what it uses.
func (m *Manager) Limits(ctx context.Context, id tenant.ID) (tenant.LimitReport, error) {
	inst, err := m.find(ctx, "limit", id)
	if err != nil {
		return tenant.LimitReport{}, err
	}
	usage, err := m.controller.Usage(ctx, id)
	if err != nil {
		return tenant.LimitReport{}, fmt.Errorf("look at usage of %s: %w", id, err)
	}
	look, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	bytes, enforced, err := m.measure(look, inst)
	if err == nil {
		usage.Storage = bytes
	} else {
		m.log.Warn("storage not measured", "instance", id, "err", err)
	}
	report := tenant.LimitReport{ID: id, Usage: usage, StorageEnforced: enforced}
	service := m.config.Load().Services[id.Service]
	inst.mu.Lock()
	defer inst.mu.Unlock()
	report.State = inst.state
	if s := inst.storage.get(); err != nil && !s.at.IsZero() {
		report.Usage.Storage = s.bytes
	}
	set := m.limitsLocked(inst)
	for _, limit := range tenant.AllLimits() {
		v := tenant.LimitValue{Limit: limit, Value: set.Get(limit), From: tenant.FromStandard}
		if _, ok := inst.limits.get().own[limit]; ok {
			v.From = tenant.FromInstance
		} else if service != nil {
			if _, ok := service.Limits[limit]; ok {
				v.From = tenant.FromService
			}
		}
		applied, known := inst.unit.get().applied[limit]
		v.Pending = !limit.Live() && known && applied != v.Value && believedRunning(inst)
		report.Limits = append(report.Limits, v)
	}
	return report, nil
}
