package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
)

// Doze freezes an awake instance now, as doze_timeout would, and gives its memory back; one
// that dozes already goes on. It is refused, with CodeConflict, where something holds the
// instance that a doze would cut short, or where it does not run; with CodeUnsupported where
// it cannot be frozen.
func (m *Manager) Doze(ctx context.Context, id tenant.ID) (tenant.Snapshot, error) {
	inst, err := m.find(ctx, "doze", id)
	if err != nil {
		return tenant.Snapshot{}, err
	}
	var refusal error
	err = m.exclusive(ctx, inst, func() *operation {
		if refusal = m.refuseDozeLocked(inst, time.Now()); refusal != nil || inst.state == tenant.Dozing {
			return nil
		}
		op := m.beginDozeLocked(inst)
		op.actor = tenant.ActorOf(ctx)
		return op
	})
	if err == nil {
		err = refusal
	}
	if err != nil {
		return tenant.Snapshot{}, err
	}
	return m.Get(id)
}

// refuseDozeLocked says why the instance must not doze now, whoever asks for it.
func (m *Manager) refuseDozeLocked(inst *instance, now time.Time) error {
	refuse := func(msg, hint string) error {
		return &tenant.Error{Code: tenant.CodeConflict, Op: "doze", ID: inst.id, Msg: fmt.Sprintf("%s %s", inst.id, msg), Hint: hint}
	}
	switch {
	case inst.removed:
		return tenant.NoInstance("doze", inst.id)
	case inst.state == tenant.Dozing:
		return nil
	case inst.state != tenant.Awake:
		return refuse(fmt.Sprintf("is %s: only one that is awake can doze", inst.state), fmt.Sprintf("`ten wake %s` wakes it", inst.id))
	case inst.cannotDoze:
		return explainDoze(inst.id, &ingress.Refusal{Class: ingress.ClassUnsupported})
	}
	for _, h := range m.holdsLocked(inst, now) {
		switch h.Kind {
		case tenant.HoldRequests:
			return refuse("has "+tenant.Count(h.Count, "request", "requests")+" in flight", fmt.Sprintf("try again when they have ended; `ten stop %s` ends them", inst.id))
		case tenant.HoldStreams:
			return refuse("has "+tenant.Count(h.Count, "stream", "streams")+" with traffic", fmt.Sprintf("try again when they are quiet; `ten stop %s` ends them", inst.id))
		case tenant.HoldLease:
			return refuse(fmt.Sprintf("is kept awake by a lease of the %s", h.Holder), fmt.Sprintf("`ten keep-awake --revoke %s` ends it", inst.id))
		}
	}
	return nil
}

// explainDoze puts the failure of a doze in words; nil for none.
func explainDoze(id tenant.ID, err error) error {
	if err == nil {
		return nil
	}
	e := &tenant.Error{
		Code: tenant.CodeUnavailable, Op: "doze", ID: id, Err: err,
		Msg: fmt.Sprintf("%s could not be frozen", id), Hint: "the daemon's log says why; it stays as it is",
	}
	var refusal *ingress.Refusal
	switch {
	case !errors.As(err, &refusal):
	case refusal.Class == ingress.ClassUnsupported:
		e.Code = tenant.CodeUnsupported
		e.Msg, e.Hint = fmt.Sprintf("%s cannot doze: it has no cgroup of its own that can be frozen", id), fmt.Sprintf("`ten doctor` says what is missing; `ten stop %s` puts it to sleep", id)
	case refusal.Class == ingress.ClassNotFrozen:
		e.Msg, e.Hint = fmt.Sprintf("%s did not come to rest in time", id), "it is at work; try again later"
	}
	return e
}
