package lifecycle

import (
	"cmp"
	"container/list"
	"context"
	"slices"

	"tenement.dev/internal/tenant"
)

// sleepers are the instances that are asleep and still loaded, the latest first.
// Loaded units cost the service manager memory, and time at each daemon-reload, so
// only the most recent keep theirs; the others are loaded again within their wake.
type sleepers struct {
	order    *list.List // of *instance
	elements map[*instance]*list.Element
}

func newSleepers() sleepers {
	return sleepers{order: list.New(), elements: map[*instance]*list.Element{}}
}

func (s *sleepers) add(inst *instance) {
	s.remove(inst)
	s.elements[inst] = s.order.PushFront(inst)
}

func (s *sleepers) remove(inst *instance) {
	if e, ok := s.elements[inst]; ok {
		s.order.Remove(e)
		delete(s.elements, inst)
	}
}

// oldest gives the one that has slept longest if there are more than keep.
func (s *sleepers) oldest(keep int) (*instance, bool) {
	if s.order.Len() <= keep {
		return nil, false
	}
	inst, ok := s.order.Back().Value.(*instance)
	return inst, ok
}

// fellAsleep notes that a loaded instance sleeps now and unloads those for which
// there is no doorbell left.
func (m *Manager) fellAsleep(inst *instance) {
	inst.mu.Lock()
	counts := inst.loaded && inst.op == nil && !inst.armed && (inst.state == tenant.Asleep || inst.state == tenant.Failed)
	if counts {
		m.mu.Lock()
		m.sleepers.add(inst)
		m.mu.Unlock()
		m.tuneLocked(inst)
	}
	inst.mu.Unlock()
	for m.ctx.Err() == nil {
		m.mu.Lock()
		old, over := m.sleepers.oldest(m.doorbellsLocked())
		if over {
			m.sleepers.remove(old)
		}
		m.mu.Unlock()
		if !over {
			return
		}
		m.tasks.do(func() { m.unloadSleeper(old) })
	}
}

// doorbellsLocked is how many sleepers that are not armed keep their doorbell: all that
// are loaded count, and a few more that are about to be armed.
func (m *Manager) doorbellsLocked() int {
	n := m.config.Load().Settings.Doorbells
	return max(n-len(m.armed), min(n, 8))
}

// awakeAgain notes that an instance sleeps no longer.
func (m *Manager) awakeAgain(inst *instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sleepers.remove(inst)
}

// takePortBack has the sleeper that was used least recently of those that have a port give it back, and reports whether one has.
func (m *Manager) takePortBack(ctx context.Context) bool {
	var holders []*instance
	m.mu.RLock()
	for _, id := range m.ports {
		if inst := m.instances[id]; inst != nil && !tenant.State(inst.seen.Load()).Runs() {
			holders = append(holders, inst)
		}
	}
	m.mu.RUnlock()
	slices.SortFunc(holders, func(a, b *instance) int { return cmp.Compare(a.active.Load(), b.active.Load()) })
	for _, inst := range holders {
		m.disarm(ctx, inst, "its port is wanted")
		m.awakeAgain(inst) // no sleeper with a doorbell any more
		m.unloadSleeper(inst)
		if given := inst.portNow() == 0; given || ctx.Err() != nil {
			return given
		}
	}
	return false
}

// unloadSleeper takes the doorbell of a sleeper away, unless it has woken meanwhile.
func (m *Manager) unloadSleeper(inst *instance) {
	inst.mu.Lock()
	if inst.op != nil || !inst.loaded || inst.armed || inst.state.Runs() {
		inst.mu.Unlock()
		return
	}
	op := inst.beginLocked(false)
	inst.mu.Unlock()
	ctx, cancel := context.WithTimeout(m.ctx, slack)
	defer cancel()
	err := m.unload(ctx, inst)
	if err != nil && m.ctx.Err() == nil {
		m.log.Error("sleeper not unloaded", "instance", inst.id, "err", err)
	}
	inst.mu.Lock()
	m.endLocked(inst, op, err)
	inst.mu.Unlock()
}
