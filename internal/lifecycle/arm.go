package lifecycle

import (
	"cmp"
	"context"
	"slices"
	"time"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

const (
	// armDelay is for how long an instance must have slept before it is armed: who is
	// restarted or destroyed need not be.
	armDelay = 2 * time.Second
	// armLook is the wait before the next look where something was in the way, and the
	// least time between two looks.
	armLook = time.Second
	// armCalm is for how long memory must not have been short.
	armCalm = time.Minute
	// disarmStep is how many armed instances are given back at a time when memory is
	// short: they have little each.
	disarmStep = 16
)

// Where nobody has set how many are armed it is one for each armShare bytes of memory: a
// tenth of it at most, and within bounds, since each makes a daemon-reload longer, too.
const (
	armShare = 16 << 20
	armLeast = 64
	armMost  = 256
)

// armedWanted is how many sleepers are to be armed.
func (m *Manager) armedWanted() int {
	if n := m.config.Load().Settings.Armed; n != config.ByMemory {
		return n
	}
	if m.memory == nil {
		return armLeast
	}
	return int(min(max(m.memory.Total()/armShare, armLeast), armMost))
}

// armAt is when the instance may be armed, if it goes on sleeping; mu must be held.
func (i *instance) armAt() time.Time {
	at := i.since.Add(armDelay)
	for _, other := range []time.Time{i.arming.get().after, i.brake.get().until} {
		if other.After(at) {
			at = other
		}
	}
	return at
}

// armSoon has who is armed looked at again.
func (m *Manager) armSoon() {
	select {
	case m.arming <- struct{}{}:
	default:
	}
}

// keepArmed keeps the most recently used sleepers armed until ctx ends.
func (m *Manager) keepArmed(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.arming:
		case <-timer.C:
		}
		wait := armLook
		if !m.anyStarts() { // a look at all who are armed takes time that a start could have
			m.disarmStale(ctx)
			wait = m.armRound(ctx)
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		if !rest(ctx, armLook) {
			return
		}
	}
}

// disarmStale disarms who would be loaded anew by a wake, for another configuration,
// release or limit.
func (m *Manager) disarmStale(ctx context.Context) {
	for _, inst := range m.armedInstances() {
		if m.stale(ctx, inst, m.config.Load()) {
			m.disarm(ctx, inst, "it is to be loaded anew")
		}
	}
}

// disarm stops the unit of an armed instance and waits for that.
func (m *Manager) disarm(ctx context.Context, inst *instance, reason string) {
	inst.mu.Lock()
	op := m.beginDisarmLocked(inst, reason)
	inst.mu.Unlock()
	if op == nil {
		return
	}
	select {
	case <-op.done:
	case <-ctx.Done():
	}
}

// armRound arms and disarms what differs, one by one, and gives the time until it may
// be worth another look, 0 where only a change is.
func (m *Manager) armRound(ctx context.Context) (wait time.Duration) {
	chosen := m.mostRecent(m.armedWanted())
	keep := make(map[*instance]bool, len(chosen))
	for _, inst := range chosen {
		keep[inst] = true
	}
	for _, inst := range m.armedInstances() {
		if !keep[inst] {
			m.disarm(ctx, inst, "others were used since")
		}
	}
	for _, inst := range chosen {
		inst.mu.Lock()
		now := time.Now()
		due := inst.armAt()
		todo := !inst.armed
		inst.mu.Unlock()
		switch {
		case !todo:
			continue
		case due.After(now):
			if next := due.Sub(now); wait == 0 || next < wait {
				wait = next
			}
			continue
		case !m.calm(now):
			return armLook
		}
		m.arm(inst)
		// A processor at most is half at work for this.
		if !rest(ctx, time.Since(now)) {
			return 0
		}
	}
	return wait
}

// anyStarts reports whether an instance starts, or waits for its turn to.
func (m *Manager) anyStarts() bool {
	counts := m.gate.Counts()
	return counts.Queued > 0 || counts.Starting > 0
}

// calm reports whether the machine has time and memory for what nobody waits for.
func (m *Manager) calm(now time.Time) bool {
	if m.anyStarts() {
		return false
	}
	short := m.shortAt.Load()
	return m.memory == nil || m.memory.Short() == "" && (short == nil || now.Sub(*short) >= armCalm)
}

// mostRecent gives the n most recently used instances that are or may be armed, the
// latest first. Those that nobody has ever used are not among them: there is nothing to
// say that somebody will soon, and a new daemon may know very many.
func (m *Manager) mostRecent(n int) []*instance {
	if n == 0 {
		return nil
	}
	type sleeper struct {
		inst *instance
		used int64
	}
	var list []sleeper
	cut := func() {
		slices.SortFunc(list, func(a, b sleeper) int {
			return cmp.Or(cmp.Compare(b.used, a.used), cmp.Compare(a.inst.id.String(), b.inst.id.String()))
		})
		list = list[:min(len(list), n)]
	}
	m.mu.RLock()
	all := make([]*instance, 0, len(m.instances))
	for _, inst := range m.instances {
		if tenant.State(inst.seen.Load()) == tenant.Asleep && inst.active.Load() > 0 {
			all = append(all, inst)
		}
	}
	m.mu.RUnlock()
	for _, inst := range all {
		inst.mu.Lock()
		may := m.armableLocked(inst)
		inst.mu.Unlock()
		if !may {
			continue
		}
		if list = append(list, sleeper{inst, inst.active.Load()}); len(list) >= 2*n+64 {
			cut()
		}
	}
	cut()
	chosen := make([]*instance, len(list))
	for i, s := range list {
		chosen[i] = s.inst
	}
	return chosen
}

// giveArmedBack begins to disarm some instances, the least recently used first; nil
// where none is armed.
func (m *Manager) giveArmedBack() (first *instance, last *operation) {
	list := m.armedInstances()
	slices.SortFunc(list, func(a, b *instance) int { return cmp.Compare(a.active.Load(), b.active.Load()) })
	begun := 0
	for _, inst := range list {
		inst.mu.Lock()
		op := m.beginDisarmLocked(inst, "memory is short")
		inst.mu.Unlock()
		if op == nil {
			continue
		}
		if first == nil {
			first = inst
		}
		last = op
		if begun++; begun == disarmStep {
			break
		}
	}
	return first, last
}
