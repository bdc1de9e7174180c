package lifecycle

import (
	"context"
	"log/slog"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// tell has everybody who follows the events know of one; it waits for nobody.
func (m *Manager) tell(kind event.Kind, id tenant.ID, fields ...slog.Attr) {
	m.tellBy("", kind, id, fields...)
}

// tellOf is tell of what somebody has asked for.
func (m *Manager) tellOf(ctx context.Context, kind event.Kind, id tenant.ID, fields ...slog.Attr) {
	m.tellBy(tenant.ActorOf(ctx), kind, id, fields...)
}

// tellBy is tellOf where the operation knows who has asked for it.
func (m *Manager) tellBy(actor tenant.Actor, kind event.Kind, id tenant.ID, fields ...slog.Attr) {
	m.events.Publish(event.Event{Kind: kind, Instance: id, Actor: actor, Fields: fields})
}

// tellStateLocked tells of a change of state.
func (i *instance) tellStateLocked(from tenant.State, now time.Time) {
	if from == i.state {
		return
	}
	fields := make([]slog.Attr, 2, 3)
	fields[0], fields[1] = slog.String("from", from.String()), slog.String("to", i.state.String())
	if i.reason != "" {
		fields = append(fields, slog.String("reason", i.reason))
	}
	i.common.events.Publish(event.Event{Kind: event.State, Instance: i.id, Time: now, Fields: fields})
}

// tellHealthLocked tells of the health of an awake instance, if it is not what it was.
func (m *Manager) tellHealthLocked(inst *instance, before tenant.Health) {
	h := inst.health.get()
	health, reason := h.tell()
	if health == before {
		return
	}
	fields := []slog.Attr{slog.String("health", string(health)), slog.Int("failures", h.failures)}
	if reason != "" {
		fields = append(fields, slog.String("reason", reason))
	}
	m.tell(event.Health, inst.id, fields...)
}

// phasesOf are the fields of a wake.
func phasesOf(w *tenant.Wake) []slog.Attr {
	return []slog.Attr{
		slog.String("kind", string(w.Kind)), slog.String("cause", string(w.Cause)),
		slog.Duration("queue", w.Queue), slog.Duration("load", w.Load), slog.Duration("unit_start", w.UnitStart),
		slog.Duration("app_ready", w.AppReady), slog.Duration("health", w.Health), slog.Duration("total", w.Total),
	}
}

// limitFields are an instance's own limits, by name.
func limitFields(l tenant.Limits) []slog.Attr {
	var fields []slog.Attr
	for _, limit := range tenant.AllLimits() {
		if v, ok := l[limit]; ok {
			fields = append(fields, slog.Int64(string(limit), v))
		}
	}
	return fields
}

// weightField is a weight, -1 for none of its own.
func weightField(w tenant.Weight) slog.Attr {
	if !w.Set {
		return slog.Int("weight", -1)
	}
	return slog.Int("weight", w.N)
}
