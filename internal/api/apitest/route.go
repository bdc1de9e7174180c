package apitest

import (
	"context"
	"fmt"
	"time"

	"tenement.dev/internal/tenant"
)

// SetWeight gives an instance a weight.
func (m *Instances) SetWeight(_ context.Context, id tenant.ID, w tenant.Weight) (tenant.Snapshot, error) {
	s, err := m.Get(id)
	if err != nil {
		return s, err
	}
	if w.N < 0 || w.N > tenant.MaxWeight {
		return s, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "weight", ID: id,
			Msg: fmt.Sprintf("%d is not a weight", w.N), Hint: "use 0 to 10000; 0 is no requests",
		}
	}
	s.Weight = w
	m.Put(s)
	return s, nil
}

// Swap wakes to and gives it all requests.
func (m *Instances) Swap(ctx context.Context, from, to tenant.ID) (tenant.Snapshot, error) {
	if _, err := m.SetWeight(ctx, from, tenant.Weight{Set: true}); err != nil {
		return tenant.Snapshot{}, err
	}
	if _, err := m.Wake(ctx, to); err != nil {
		return tenant.Snapshot{}, err
	}
	return m.SetWeight(ctx, to, tenant.Weight{N: tenant.DefaultWeight, Set: true})
}

// Deploy spawns an instance and gives it a weight; it is too late where timeout is below
// the 63 ms that a wake takes.
func (m *Instances) Deploy(ctx context.Context, id tenant.ID, w tenant.Weight, timeout time.Duration) (tenant.Snapshot, bool, error) {
	if timeout > 0 && timeout < 63*time.Millisecond {
		return tenant.Snapshot{}, false, &tenant.Error{
			Code: tenant.CodeStartTimeout, Op: "deploy", ID: id,
			Msg: fmt.Sprintf("%s was not ready within %v", id, timeout), Hint: fmt.Sprintf("`ten logs %s` shows what it said", id),
		}
	}
	_, created, err := m.Spawn(ctx, id)
	if err != nil {
		return tenant.Snapshot{}, false, err
	}
	if !w.Set {
		w = tenant.Weight{N: tenant.DefaultWeight, Set: true}
	}
	s, err := m.SetWeight(ctx, id, w)
	return s, created, err
}
