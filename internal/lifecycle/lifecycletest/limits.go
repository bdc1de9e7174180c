package lifecycletest

import (
	"context"
	"slices"

	"tenement.dev/internal/tenant"
)

// SetBoosts has units loaded with these weights boosted, as on a machine that has
// their controllers.
func (s *Systemd) SetBoosts(weights ...tenant.Limit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.boosts = weights
}

// Lack has the machine not know these limits.
func (s *Systemd) Lack(limits ...tenant.Limit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lacks = limits
}

// SetStorage says how many bytes an instance's data has; enforces is whether the file
// system enforces limits.
func (s *Systemd) SetStorage(id tenant.ID, bytes int64, enforces bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.storage[id], s.enforces = bytes, enforces
}

// Limits are those that a loaded unit has now.
func (s *Systemd) Limits(id tenant.ID) tenant.Limits {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.units[id]; u != nil {
		return u.limits.Or(nil)
	}
	return nil
}

func (s *Systemd) check(id tenant.ID, limits tenant.Limits) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, limit := range tenant.AllLimits() {
		if limits[limit] != 0 && slices.Contains(s.lacks, limit) {
			return &tenant.Error{Code: tenant.CodeUnsupported, Op: "limit", ID: id, Msg: limit.Key() + " is not known on this machine"}
		}
	}
	return nil
}

// SetLimits implements lifecycle.Limiter.
func (s *Systemd) SetLimits(ctx context.Context, id tenant.ID, limits tenant.Limits) error {
	if err := s.enter(ctx, "limit"); err != nil {
		return err
	}
	if err := s.check(id, limits); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[id]
	if u == nil {
		return nil
	}
	live := tenant.Limits{}
	for limit, v := range limits {
		if limit.Live() {
			live[limit] = v
		}
	}
	u.limits = live.Or(u.limits)
	return nil
}

// Usage implements lifecycle.Limiter: what runs uses 10 MiB and three tasks.
func (s *Systemd) Usage(ctx context.Context, id tenant.ID) (tenant.Usage, error) {
	if err := s.enter(ctx, "usage"); err != nil {
		return tenant.UnknownUsage, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.units[id]; u == nil || u.run == nil {
		return tenant.UnknownUsage, nil
	}
	return tenant.Usage{Memory: 10 << 20, Tasks: 3, CPUTime: 1e9, Storage: -1}, nil
}

// Measure implements lifecycle.Limiter.
func (s *Systemd) Measure(ctx context.Context, id tenant.ID) (int64, bool, error) {
	if err := s.enter(ctx, "measure"); err != nil {
		return 0, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.storage[id], s.enforces, nil
}
