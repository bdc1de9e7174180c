package lifecycle

import (
	"context"
	"time"

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
		inst, op := m.giveBack()
		switch {
		case op != nil:
			m.log.Info("memory is short", "instance", inst.id, "becomes", op.becomes.String(), "reason", why)
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

// giveBack begins one step: the least recently used idle instance dozes; if none can,
// the least recently used dozing one stops; if there is none either, an idle one that
// cannot doze stops. It gives nil where nothing is left.
func (m *Manager) giveBack() (*instance, *operation) {
	now := time.Now()
	// An instance may be used between the choice and the step; then another is chosen.
	for range 3 {
		var chosen *instance
		var used time.Time
		step := stepNone
		for _, inst := range m.all() {
			inst.mu.Lock()
			can, last := m.stepLocked(inst, now), inst.lastActive
			inst.mu.Unlock()
			if can != stepNone && (step == stepNone || can < step || can == step && last.Before(used)) {
				chosen, used, step = inst, last, can
			}
		}
		if chosen == nil {
			return nil, nil
		}
		if op := m.takeStep(chosen, step, now); op != nil {
			return chosen, op
		}
	}
	return nil, nil
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
