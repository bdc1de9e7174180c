package lifecycle

import (
	"math/bits"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

// unwokenLocked is the answer to a request that shall not wake the instance, which is
// at rest; nil where it goes on as any other. An instance whose last start has failed
// is not called asleep: a monitor is to see that.
func (m *Manager) unwokenLocked(inst *instance, service *config.Service, v tenant.Visit) error {
	kind := (v.Kinds & service.NoWake).First()
	failing := !inst.brake.get().until.IsZero() || inst.brake.get().spent || inst.state == tenant.Asleep && inst.rested == startFailed
	if kind == 0 || inst.removed || failing {
		return nil
	}
	switch inst.state {
	case tenant.Asleep, tenant.Dozing, tenant.Stopping:
	default:
		return nil
	}
	if inst.unwoken == nil {
		inst.unwoken = &[8]int64{}
	}
	inst.unwoken[bits.TrailingZeros8(uint8(kind))]++
	m.observer.Unwoken(inst.id, kind)
	m.log.Debug("not woken", "instance", inst.id, "kind", kind.String(), "state", inst.state.String())
	return &tenant.Unwoken{ID: inst.id, Kind: kind, State: inst.state}
}

// unwokenCounts gives the counts by the kind's name, nil where there are none.
func unwokenCounts(counts *[8]int64) map[string]int64 {
	if counts == nil {
		return nil
	}
	var byName map[string]int64
	for i, n := range counts {
		if n == 0 {
			continue
		}
		if byName == nil {
			byName = map[string]int64{}
		}
		byName[tenant.Kinds(1<<i).String()] = n
	}
	return byName
}

// passOut ends a request that shall not count as activity.
func (m *Manager) passOut(inst *instance) {
	inst.mu.Lock()
	defer inst.mu.Unlock()
	inst.requests--
	if inst.requests == 0 {
		inst.dropSpareLocked()
	}
}
