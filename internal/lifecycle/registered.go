package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

// register makes an instance known, in the registry and here. limit bounds the
// number of instances of its service, 0 for none. weight is what it begins with.
func (m *Manager) register(ctx context.Context, id tenant.ID, limit int, weight tenant.Weight) (inst *instance, added bool, err error) {
	return m.registerWith(ctx, id, limit, weight, nil)
}

// registerWith is register that has prepare, if it is not nil, called before anybody can
// wake the instance; where it fails the instance is removed.
func (m *Manager) registerWith(ctx context.Context, id tenant.ID, limit int, weight tenant.Weight, prepare func(*instance) error) (inst *instance, added bool, err error) {
	m.mu.Lock()
	if inst, ok := m.instances[id]; ok {
		m.mu.Unlock()
		return inst, false, nil
	}
	if limit > 0 && len(m.services[id.Service]) >= limit {
		m.mu.Unlock()
		return nil, false, &tenant.Error{
			Code: tenant.CodeLimit, Op: "create", ID: id,
			Msg:  fmt.Sprintf("service %s has its %s already", id.Service, tenant.Count(limit, "instance", "instances")),
			Hint: "raise max_instances, or `ten destroy` one",
		}
	}
	// Reserve before the registry is asked, so that two requests cannot both add.
	now := time.Now()
	row := registry.Instance{ID: id, Created: now}
	inst = newInstance(row, registry.Brake{}, now, m.common)
	inst.setWeight(weight)
	op := inst.beginLocked(false) // not shared yet: no lock needed
	m.addLocked(inst)
	m.mu.Unlock()

	if weight.Set {
		err = m.store.SetWeights(ctx, map[tenant.ID]tenant.Weight{id: weight})
	}
	if err == nil {
		_, err = m.store.Add(ctx, row)
	}
	if err != nil {
		m.forget(inst)
		err = fmt.Errorf("register %s: %w", id, err)
	}
	if err == nil {
		m.tellOf(ctx, event.Created, id, slog.String("cause", string(tenant.CauseOf(ctx, tenant.CauseOperator))))
		if prepare != nil {
			err = prepare(inst)
		}
		if err != nil {
			m.tellOf(ctx, event.Destroyed, id)
			err = errors.Join(err, m.remove(inst))
		}
	}
	inst.mu.Lock()
	inst.removed = err != nil
	inst.endLocked(op, nil)
	inst.mu.Unlock()
	return inst, err == nil, err
}

// addLocked makes an instance known here.
func (m *Manager) addLocked(inst *instance) {
	m.instances[inst.id] = inst
	if at, _ := slices.BinarySearchFunc(m.sorted, inst.id, func(i *instance, id tenant.ID) int { return i.id.Compare(id) }); m.sorted != nil {
		m.sorted = slices.Insert(slices.Clip(m.sorted), at, inst)
	}
	m.services[inst.id.Service] = append(m.services[inst.id.Service], inst)
}

// forget drops an instance from memory.
func (m *Manager) forget(inst *instance) {
	m.keepUse(inst)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.instances[inst.id] != inst {
		return
	}
	delete(m.instances, inst.id)
	m.sorted = nil
	m.services[inst.id.Service] = slices.DeleteFunc(m.services[inst.id.Service], func(i *instance) bool { return i == inst })
	maps.DeleteFunc(m.domains, func(_ string, d tenant.Domain) bool { return d.ID == inst.id })
	maps.DeleteFunc(m.claims, func(c claim, _ tenant.Domain) bool { return c.id == inst.id })
	m.sleepers.remove(inst)
	delete(m.armed, inst)
}

// lookup gives a registered instance.
func (m *Manager) lookup(id tenant.ID) (*instance, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	inst, ok := m.instances[id]
	return inst, ok
}

// all gives every registered instance, sorted by ID. The slice is not the caller's.
func (m *Manager) all() []*instance {
	m.mu.RLock()
	list := m.sorted
	m.mu.RUnlock()
	if list != nil {
		return list
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sorted == nil {
		m.sorted = slices.SortedFunc(maps.Values(m.instances), byID)
	}
	return m.sorted
}

func byID(a, b *instance) int { return a.id.Compare(b.id) }

// List tells of every instance, sorted by ID.
func (m *Manager) List() []tenant.Snapshot {
	now := time.Now()
	all := m.all()
	list := make([]tenant.Snapshot, len(all))
	for i, inst := range all {
		list[i] = m.snapshot(inst, now)
	}
	return list
}

// Len is how many instances are registered.
func (m *Manager) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.instances)
}

// Glance tells little of every instance, sorted by ID: there may be very many.
func (m *Manager) Glance() iter.Seq2[tenant.ID, tenant.Glance] {
	return func(yield func(tenant.ID, tenant.Glance) bool) {
		now := time.Now()
		for _, inst := range m.all() {
			inst.mu.Lock()
			g := tenant.Glance{State: inst.state, InFlight: inst.requests + inst.streams, LastActive: inst.lastActiveLocked(now)}
			inst.mu.Unlock()
			if !yield(inst.id, g) {
				return
			}
		}
	}
}

// Get tells of one instance.
func (m *Manager) Get(id tenant.ID) (tenant.Snapshot, error) {
	inst, ok := m.lookup(id)
	if !ok {
		return tenant.Snapshot{}, tenant.NoInstance("get", id)
	}
	return m.snapshot(inst, time.Now()), nil
}

func (m *Manager) snapshot(inst *instance, now time.Time) tenant.Snapshot {
	inst.mu.Lock()
	s := inst.snapshotLocked(now)
	m.addReleaseLocked(inst, &s)
	inst.mu.Unlock()
	m.complete(inst, &s, now)
	return s
}

// complete adds to what an instance knows of itself what the Manager knows of it.
func (m *Manager) complete(inst *instance, s *tenant.Snapshot, now time.Time) {
	m.addStorage(inst, s)
	if p, ok := m.pause(inst.id, now); ok {
		s.Paused = &p
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	s.Weight = inst.weight.get()
}
