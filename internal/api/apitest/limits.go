package apitest

import (
	"context"
	"time"

	"tenement.dev/internal/tenant"
)

// serviceLimits are those of all services.
var serviceLimits = tenant.Limits{tenant.LimitMemory: 256 << 20, tenant.LimitStorage: 1 << 30}

// Limits tells what an instance may use; one that is awake uses something. The machine
// has no controller for disks.
func (m *Instances) Limits(_ context.Context, id tenant.ID) (tenant.LimitReport, error) {
	s, err := m.Get(id)
	if err != nil {
		return tenant.LimitReport{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := tenant.LimitReport{ID: id, State: s.State, Usage: tenant.UnknownUsage}
	r.Usage.Storage = 12 << 20
	if s.State == tenant.Awake {
		r.Usage = tenant.Usage{Memory: 48<<20 + 512<<10, Tasks: 3, CPUTime: int64(1500 * time.Millisecond), Storage: 12 << 20}
	}
	own := m.limits[id]
	for _, limit := range tenant.AllLimits() {
		v := tenant.LimitValue{Limit: limit, Value: own.Or(serviceLimits).Get(limit), From: tenant.FromStandard}
		if _, ok := serviceLimits[limit]; ok {
			v.From = tenant.FromService
		}
		if _, ok := own[limit]; ok {
			v.From = tenant.FromInstance
			v.Pending = !limit.Live() && s.State == tenant.Awake
		}
		r.Limits = append(r.Limits, v)
	}
	return r, nil
}

// SetLimits changes what an instance may use.
func (m *Instances) SetLimits(ctx context.Context, id tenant.ID, change tenant.LimitChange) (tenant.LimitReport, error) {
	if _, err := m.Get(id); err != nil {
		return tenant.LimitReport{}, err
	}
	if change.Set[tenant.LimitIOWeight] != 0 {
		return tenant.LimitReport{}, &tenant.Error{
			Code: tenant.CodeUnsupported, Op: "limit", ID: id,
			Msg:  "io_weight does not take effect on this machine",
			Hint: "`ten doctor` shows what this machine can do",
		}
	}
	m.mu.Lock()
	m.limits[id] = change.Apply(m.limits[id])
	m.mu.Unlock()
	return m.Limits(ctx, id)
}
