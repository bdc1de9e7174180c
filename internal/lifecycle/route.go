package lifecycle

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// Route chooses the instance for a request to a service's own host name. Where any
// instance of the service was given a weight, each one gets its share, whether it is
// awake or not. Where none was, the awake ones share alike, and if all sleep the one
// that was active last is to be woken: a service's host name must not start one
// process per visitor. An instance of weight 0, one that has failed or is paused and
// those in tried are never chosen; prefer, the name of an instance, is chosen if it may be and
// the service is sticky. A service without a host name of its own has no answer here.
func (m *Manager) Route(service, prefer string, tried []tenant.ID) (id tenant.ID, sticky bool, err error) {
	if s, ok := m.config.Load().Services[service]; ok {
		if !s.ServiceHost {
			return tenant.ID{}, false, noServiceHost("route", tenant.CodeNoServiceHost, tenant.ID{Service: service})
		}
		sticky = s.Sticky
	}
	if !sticky {
		prefer = ""
	}
	id, err = m.choose(service, prefer, tried)
	return id, sticky, err
}

// noServiceHost is the error where a service does not answer at its own host name.
func noServiceHost(op string, code tenant.Code, id tenant.ID) error {
	return &tenant.Error{
		Code: code, Op: op, ID: id,
		Msg:  fmt.Sprintf("%s does not answer at its own host name, as service_host of it is false", id.Service),
		Hint: fmt.Sprintf("each instance answers at its own, NAME.%s.DOMAIN; service_host = true lets all of them answer at %s.DOMAIN", id.Service, id.Service),
	}
}

// checkWeighed refuses to give weights to instances of a service where nothing goes by them.
func (m *Manager) checkWeighed(op string, id tenant.ID) error {
	if s, ok := m.config.Load().Services[id.Service]; ok && !s.ServiceHost {
		return noServiceHost(op, tenant.CodeConflict, id)
	}
	return nil
}

func (m *Manager) choose(service, prefer string, tried []tenant.ID) (tenant.ID, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	members := m.services[service]
	weighted := slices.ContainsFunc(members, func(i *instance) bool { return i.weight.get().Set })
	var total int
	for _, inst := range members {
		if !m.eligibleLocked(inst, tried) {
			continue
		}
		if inst.id.Name == prefer {
			return inst.id, nil
		}
		if weighted || inst.up() {
			total += inst.weight.get().Effective()
		}
	}
	if total == 0 {
		return m.latestLocked(service, members, tried)
	}
	at := rand.IntN(total)
	for _, inst := range members {
		if !m.eligibleLocked(inst, tried) || !weighted && !inst.up() {
			continue
		}
		if at -= inst.weight.get().Effective(); at < 0 {
			return inst.id, nil
		}
	}
	// One that was up has ceased to be in between.
	return m.latestLocked(service, members, tried)
}

// eligibleLocked reports whether a request for the service may go to the instance.
// Manager.mu is held, as by all here.
func (m *Manager) eligibleLocked(i *instance, tried []tenant.ID) bool {
	return i.weight.get().Effective() > 0 && tenant.State(i.seen.Load()) != tenant.Failed && !slices.Contains(tried, i.id) && !m.isPaused(i.id)
}

// up reports whether the instance has a process or is about to have one.
func (i *instance) up() bool {
	switch tenant.State(i.seen.Load()) {
	case tenant.Awake, tenant.Dozing, tenant.Waking:
		return true
	}
	return false
}

// latestLocked gives the one that was active last.
func (m *Manager) latestLocked(service string, members []*instance, tried []tenant.ID) (tenant.ID, error) {
	var latest *instance
	for _, inst := range members {
		if m.eligibleLocked(inst, tried) && (latest == nil || inst.active.Load() > latest.active.Load()) {
			latest = inst
		}
	}
	if latest != nil {
		return latest.id, nil
	}
	if _, ok := m.config.Load().Services[service]; !ok || len(members) == 0 {
		return tenant.ID{}, &tenant.Error{
			Code: tenant.CodeNotFound, Op: "route",
			Msg:  fmt.Sprintf("there is no instance of %s", service),
			Hint: fmt.Sprintf("`ten spawn %s:NAME` creates one", service),
		}
	}
	for _, inst := range members {
		if inst.weight.get().Effective() == 0 || slices.Contains(tried, inst.id) {
			continue
		}
		if err := m.pausedError(inst.id); err != nil {
			return tenant.ID{}, err
		}
	}
	return tenant.ID{}, &tenant.Error{
		Code: tenant.CodeUnavailable, Op: "route",
		Msg:  fmt.Sprintf("no instance of %s can take this request", service),
		Hint: "those with weight 0 get none: `ten weight` changes that; `ten ps` shows which have failed",
	}
}

// SetWeight gives an instance its share of the requests for its service's own host
// name; the zero Weight takes it away, also where the service has no such name.
func (m *Manager) SetWeight(ctx context.Context, id tenant.ID, w tenant.Weight) (tenant.Snapshot, error) {
	inst, err := m.find(ctx, "weight", id)
	if err != nil {
		return tenant.Snapshot{}, err
	}
	if w.N < 0 || w.N > tenant.MaxWeight {
		return tenant.Snapshot{}, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "weight", ID: id,
			Msg:  fmt.Sprintf("%d is not a weight", w.N),
			Hint: fmt.Sprintf("use 0 to %d; 0 is no requests", tenant.MaxWeight),
		}
	}
	if w.Set {
		if err := m.checkWeighed("weight", id); err != nil {
			return tenant.Snapshot{}, err
		}
	}
	if err := m.setWeights(ctx, map[*instance]tenant.Weight{inst: w}); err != nil {
		return tenant.Snapshot{}, err
	}
	m.tellOf(ctx, event.Weight, id, weightField(w))
	return m.Get(id)
}

// Swap moves the requests for a service's own host name from one instance to another:
// to gets the weight of from, or DefaultWeight where that is 0, and from gets 0, both
// in one step. Before it, to is woken: if that fails nothing changes.
func (m *Manager) Swap(ctx context.Context, from, to tenant.ID) (tenant.Snapshot, error) {
	if from == to || from.Service != to.Service {
		return tenant.Snapshot{}, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "route", ID: to,
			Msg:  fmt.Sprintf("requests cannot be moved from %s to %s", from, to),
			Hint: "name two instances of one service",
		}
	}
	old, err := m.find(ctx, "route", from)
	if err != nil {
		return tenant.Snapshot{}, err
	}
	next, err := m.find(ctx, "route", to)
	if err != nil {
		return tenant.Snapshot{}, err
	}
	if err := m.checkWeighed("route", to); err != nil {
		return tenant.Snapshot{}, err
	}
	if err := m.wakeByHand(ctx, next); err != nil {
		return tenant.Snapshot{}, err
	}
	m.mu.RLock()
	w := tenant.Weight{N: old.weight.get().Effective(), Set: true}
	m.mu.RUnlock()
	if w.N == 0 {
		w.N = tenant.DefaultWeight
	}
	if err := m.setWeights(ctx, map[*instance]tenant.Weight{old: {Set: true}, next: w}); err != nil {
		return tenant.Snapshot{}, err
	}
	m.tellOf(ctx, event.Routed, to, slog.String("from", from.String()), slog.Int("weight", w.N))
	return m.Get(to)
}

// setWeight is called under Manager.mu, or before anybody else knows the instance.
func (i *instance) setWeight(w tenant.Weight) {
	if w != i.weight.get() {
		*i.weight.own() = w
	}
}

// setWeights sets weights in the registry, and then here, all at once.
func (m *Manager) setWeights(ctx context.Context, weights map[*instance]tenant.Weight) error {
	byID := make(map[tenant.ID]tenant.Weight, len(weights))
	for inst, w := range weights {
		byID[inst.id] = w
	}
	// One writer at a time: what is stored last is what counts here.
	m.weighing.Lock()
	defer m.weighing.Unlock()
	if err := m.store.SetWeights(context.WithoutCancel(ctx), byID); err != nil {
		return fmt.Errorf("set weights: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for inst, w := range weights {
		inst.setWeight(w)
	}
	return nil
}
