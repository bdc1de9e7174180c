package lifecycle

import (
	"context"
	"sync"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

// common is what all instances of a Manager have in common.
type common struct {
	events *event.Bus // told of changes of state

	mu      sync.Mutex  // guards unsaved; nothing is locked under it
	unsaved []*instance // those that have changed since they were saved, each once
}

// changedLocked notes that there is something to save of the instance: of very many, few change.
func (i *instance) changedLocked() {
	if i.dirty {
		return
	}
	i.dirty = true
	i.common.mu.Lock()
	i.common.unsaved = append(i.common.unsaved, i)
	i.common.mu.Unlock()
}

// take gives those that have changed.
func (c *common) take() []*instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.unsaved
	c.unsaved = nil
	return list
}

// rows gives what the registry keeps of the instance's activity, and of its failures, nil for
// what has not changed. There is nothing of one that is being destroyed.
func (i *instance) rows() (activity *registry.Instance, failures *registry.Brake) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.dirty = false
	if i.removed {
		return nil, nil
	}
	if i.requests > 0 {
		i.activeLocked(time.Now()) // it is again at the next save
		i.changedLocked()
	}
	if b := i.brake.made; b != nil && b.dirty {
		b.dirty = false
		failures = &registry.Brake{Restarts: b.restarts, Failures: append([]time.Time(nil), b.failures...), Failed: b.spent, Reason: i.reason}
	}
	row := registry.Instance{
		ID: i.id, Port: i.port, Created: i.created.time(), LastActive: i.lastActive, Wakes: i.wakes, Thaws: i.thaws,
		AppLease: i.leases.get().app, OperatorLease: i.leases.get().operator, WokenBy: i.wokenBy, WokenAt: i.wokenAt.time(),
	}
	if i.lastWake != nil {
		row.LastWake = *i.lastWake
		row.LastWake.At = row.LastWake.At.UTC().Truncate(time.Microsecond)
	}
	switch i.state {
	case tenant.Asleep, tenant.Failed:
		row.RestsSince, row.Rested, row.Reason = i.since, i.rested, i.reason
	case tenant.Awake, tenant.Dozing:
		row.Runs, row.RunsSince, row.Process = i.state, i.since, i.startedAt
	}
	return &row, failures
}

// save writes to the registry what has changed.
func (m *Manager) save(ctx context.Context) error {
	var rows []registry.Instance
	changed := m.common.take()
	for _, inst := range changed {
		row, failures := inst.rows()
		if row != nil {
			rows = append(rows, *row)
		}
		if failures == nil {
			continue
		}
		if err := m.store.SetBrake(ctx, inst.id, *failures); err != nil {
			inst.mu.Lock()
			inst.brake.own().dirty = true
			inst.changedLocked()
			inst.mu.Unlock()
			m.log.Error("failures not saved", "instance", inst.id, "err", err)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if err := m.store.SaveActivity(ctx, rows); err != nil {
		for _, inst := range changed {
			inst.mu.Lock()
			inst.changedLocked()
			inst.mu.Unlock()
		}
		m.log.Error("activity not saved", "instances", len(rows), "err", err)
		return err
	}
	return nil
}
