package lifecycle

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

const (
	// reliefPause is the pause after each step: what it has given back must show before
	// the next is taken.
	reliefPause = time.Second
	// reliefIdle is for how long an instance must have had nothing to do before it is
	// asked to give its memory back.
	reliefIdle = 2 * time.Second
	// reliefSilence is how often at most it is said that there is nothing to give back.
	reliefSilence = time.Minute
	// reliefLooks is how many instances have their use of the CPU looked at together.
	reliefLooks = 32
)

// relieve gives memory back when it is short, until ctx ends: one step for each time
// that work is held up for want of it, and none once that has stopped.
func (m *Manager) relieve(ctx context.Context) {
	var said time.Time
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.memory.Stalls():
		case <-m.starved:
		}
		why := m.memory.Short()
		if why == "" {
			continue
		}
		now := time.Now()
		m.shortAt.Store(&now)
		inst, op := m.giveArmedBack()
		if op == nil {
			inst, op = m.giveBack(ctx)
		}
		switch {
		case op != nil:
			m.tell(event.MemoryShort, inst.id, slog.String("becomes", op.becomes.String()), slog.String("reason", why))
			select {
			case <-op.done:
			case <-ctx.Done():
				return
			}
		case time.Since(said) >= reliefSilence:
			said = time.Now()
			m.log.Warn("memory is short, and no idle instance can give any back", "reason", why)
		}
		timer.Reset(reliefPause)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		// What came meanwhile may be of before the step.
		drain(m.memory.Stalls())
		drain(m.starved)
	}
}

func drain(c <-chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// candidate is an instance that can take a step.
type candidate struct {
	inst *instance
	step step
	used time.Time
}

// giveBack begins one step: the least recently used idle instance dozes; if none can,
// the least recently used dozing one stops; if there is none either, an idle one that
// cannot doze stops. One at work in the background is not idle. It gives nil where
// nothing is left.
func (m *Manager) giveBack(ctx context.Context) (*instance, *operation) {
	var list []candidate
	now := time.Now()
	for _, inst := range m.all() {
		inst.mu.Lock()
		c := candidate{inst, m.stepLocked(inst, now), inst.lastActive}
		inst.mu.Unlock()
		if c.step != stepNone {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.step, b.step), a.used.Compare(b.used))
	})
	for some := range slices.Chunk(list, reliefLooks) {
		for _, c := range m.notAtWork(ctx, some) {
			// It may have been used since it was chosen.
			if op := m.takeStep(c.inst, c.step, time.Now()); op != nil {
				return c.inst, op
			}
		}
	}
	return nil, nil
}

// notAtWork gives those that use next to none of the CPU, in the same order. Nobody has
// looked at the CPU of an instance that was not about to rest.
func (m *Manager) notAtWork(ctx context.Context, list []candidate) []candidate {
	type look struct {
		at   time.Time
		time CPUTime
	}
	before := make(map[*instance]look, len(list))
	for _, c := range list {
		c.inst.mu.Lock()
		matters := m.cpuWindowLocked(c.inst) > 0
		c.inst.mu.Unlock()
		if !matters {
			continue
		}
		if used, err := m.cpu(c.inst.id); err == nil {
			before[c.inst] = look{time.Now(), used}
		}
	}
	if len(before) == 0 {
		return list
	}
	if !rest(ctx, minCPUWindow) {
		return nil
	}
	return slices.DeleteFunc(list, func(c candidate) bool {
		old, ok := before[c.inst]
		if !ok {
			return false
		}
		used, err := m.cpu(c.inst.id)
		did, ok := used.useSince(old.time, time.Since(old.at))
		return err == nil && ok && did.busy()
	})
}

// step is a way to give memory back, the mildest first.
type step uint8

const (
	stepNone step = iota
	stepDoze
	stepStopDozing
	stepStopAwake
)

// stepLocked is what the instance can do for others: nothing while it has work, or was
// promised to stay up by having no timeout.
func (m *Manager) stepLocked(inst *instance, now time.Time) step {
	if inst.op != nil || inst.removed || !believedRunning(inst) || now.Sub(inst.lastActive) < reliefIdle ||
		len(m.holdsLocked(inst, now)) > 0 {
		return stepNone
	}
	service, ok := m.config.Load().Services[inst.id.Service]
	mayStop := ok && service.IdleTimeout > 0 && inst.streams == 0
	switch {
	case inst.state == tenant.Awake && !inst.cannotDoze:
		return stepDoze
	case inst.state == tenant.Dozing && mayStop:
		return stepStopDozing
	case inst.state == tenant.Awake && mayStop:
		return stepStopAwake
	}
	return stepNone
}

// takeStep begins the step if the instance still can, under the lock that admits
// requests.
func (m *Manager) takeStep(inst *instance, want step, now time.Time) *operation {
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if m.ctx.Err() != nil || m.stepLocked(inst, now) != want {
		return nil
	}
	if want == stepDoze {
		m.beginDozeLocked(inst)
		return inst.op
	}
	return m.beginStopLocked(inst, "memory is short")
}
