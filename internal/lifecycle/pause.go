package lifecycle

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// maxPause bounds a pause that ends by itself; longer ones have no end.
const maxPause = 366 * 24 * time.Hour

// retryPaused is when a request for what is paused without an end may come again.
const retryPaused = 5 * time.Minute

// PauseStore remembers what is paused; an ID without a name is a whole service.
type PauseStore interface {
	Pauses(ctx context.Context) (map[tenant.ID]tenant.Pause, error)
	SetPause(ctx context.Context, id tenant.ID, p tenant.Pause) error
	RemovePause(ctx context.Context, id tenant.ID) error
}

// pause gives the pause of an instance, or else that of its service, that holds at now.
func (m *Manager) pause(id tenant.ID, now time.Time) (tenant.Pause, bool) {
	all := *m.pauses.Load()
	for _, key := range [...]tenant.ID{id, {Service: id.Service}} {
		if p, ok := all[key]; ok && p.Holds(now) {
			return p, true
		}
	}
	return tenant.Pause{}, false
}

// Paused gives the pause of an instance, or of its service, or of a service where the ID
// has no name.
func (m *Manager) Paused(id tenant.ID) (tenant.Pause, bool) { return m.pause(id, time.Now()) }

// isPaused reports whether an instance shall not be started for requests, nor by itself.
func (m *Manager) isPaused(id tenant.ID) bool {
	if len(*m.pauses.Load()) == 0 {
		return false
	}
	_, ok := m.pause(id, time.Now())
	return ok
}

// pausedError is the answer to a request for an instance that is paused; nil for others.
func (m *Manager) pausedError(id tenant.ID) error {
	if len(*m.pauses.Load()) == 0 {
		return nil
	}
	now := time.Now()
	p, ok := m.pause(id, now)
	if !ok {
		return nil
	}
	e := &tenant.Error{
		Code: tenant.CodePaused, Op: "acquire", ID: id,
		Msg:        fmt.Sprintf("%s is paused", id),
		Hint:       fmt.Sprintf("`ten unpause %s` ends that", id),
		Public:     p.Message,
		RetryAfter: retryPaused,
	}
	if p.Service {
		e.Msg = fmt.Sprintf("service %s is paused", id.Service)
		e.Hint = fmt.Sprintf("`ten unpause %s` ends that", id.Service)
	}
	if !p.Until.IsZero() {
		e.RetryAfter = p.Until.Sub(now)
	}
	return e
}

// Pause answers requests for an instance with message for d, 0 for no end, and wakes it
// for none of them. Requests in flight end, and the process rests as always. An ID
// without a name stands for all instances of the service, also those to come.
func (m *Manager) Pause(ctx context.Context, id tenant.ID, message string, d time.Duration) (tenant.Pause, error) {
	if err := tenant.CheckPauseMessage(message); err != nil {
		return tenant.Pause{}, err
	}
	if d < 0 || d > maxPause {
		return tenant.Pause{}, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "pause", ID: id,
			Msg:  fmt.Sprintf("nothing can be paused for %v", d),
			Hint: "say up to a year, as in 30m; without a time a pause has no end",
		}
	}
	if err := m.knows(ctx, "pause", id); err != nil {
		return tenant.Pause{}, err
	}
	p := tenant.Pause{Message: message, Since: time.Now(), Service: id.Name == ""}
	if d > 0 {
		p.Until = p.Since.Add(d)
	}
	if err := m.changePauses(func(all map[tenant.ID]tenant.Pause) error {
		if old, ok := all[id]; ok && old.Holds(p.Since) {
			p.Since = old.Since
		}
		all[id] = p
		return m.store.SetPause(context.WithoutCancel(ctx), id, p)
	}); err != nil {
		return tenant.Pause{}, err
	}
	for _, inst := range m.all() {
		if inst.id == id || p.Service && inst.id.Service == id.Service {
			inst.mu.Lock()
			if inst.op == nil && inst.state == tenant.Asleep {
				inst.restForGoodLocked() // no start of our own either
			}
			inst.mu.Unlock()
		}
	}
	fields := []slog.Attr{slog.String("message", message)}
	if d > 0 {
		fields = append(fields, slog.Duration("for", d))
	}
	m.tellOfOwner(ctx, event.Paused, id, fields...)
	return p, nil
}

// Unpause ends the pause of an instance, or of a service where id has no name; was is
// false where there was none. An instance of a service that is paused as a whole is a
// *tenant.Error with CodeConflict.
func (m *Manager) Unpause(ctx context.Context, id tenant.ID) (was bool, err error) {
	// One of a service that the configuration has no longer can be ended, too.
	if err := m.knows(ctx, "unpause", id); err != nil {
		if _, ok := (*m.pauses.Load())[id]; !ok {
			return false, err
		}
	}
	if err := m.changePauses(func(all map[tenant.ID]tenant.Pause) error {
		old, ok := all[id]
		was = ok && old.Holds(time.Now())
		delete(all, id)
		if !ok {
			return nil
		}
		return m.store.RemovePause(context.WithoutCancel(ctx), id)
	}); err != nil {
		return false, err
	}
	if p, ok := m.pause(id, time.Now()); ok && p.Service {
		return was, &tenant.Error{
			Code: tenant.CodeConflict, Op: "unpause", ID: id,
			Msg:  fmt.Sprintf("all of service %s is paused", id.Service),
			Hint: fmt.Sprintf("`ten unpause %s` ends that", id.Service),
		}
	}
	if was {
		m.tellOfOwner(ctx, event.Unpaused, id)
	}
	return was, nil
}

// tellOfOwner tells of an instance, or of a whole service.
func (m *Manager) tellOfOwner(ctx context.Context, kind event.Kind, id tenant.ID, fields ...slog.Attr) {
	if id.Name == "" {
		fields = append(fields, slog.String("service", id.Service))
		id = tenant.ID{}
	}
	m.tellOf(ctx, kind, id, fields...)
}

// knows reports whether there is such an instance, or service.
func (m *Manager) knows(ctx context.Context, op string, id tenant.ID) error {
	if id.Name != "" {
		_, err := m.find(ctx, op, id)
		return err
	}
	if err := m.awaitReady(ctx, op, id); err != nil {
		return err
	}
	_, err := m.service(op, id)
	return err
}

// changePauses replaces the pauses by what change makes of a copy, unless it fails. One
// writer at a time: what is stored last is what counts here.
func (m *Manager) changePauses(change func(map[tenant.ID]tenant.Pause) error) error {
	m.pausing.Lock()
	defer m.pausing.Unlock()
	all := maps.Clone(*m.pauses.Load())
	if err := change(all); err != nil {
		return err
	}
	m.pauses.Store(&all)
	return nil
}

// forgetPause drops the pause of an instance that is no more.
func (m *Manager) forgetPause(id tenant.ID) {
	// The registry has dropped it with the instance.
	_ = m.changePauses(func(all map[tenant.ID]tenant.Pause) error { delete(all, id); return nil })
}
