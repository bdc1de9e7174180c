package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// Deploy has an instance awake and healthy, and only then gives it its weight; a new
// one gets no request for its service's own host name before. The zero Weight is
// DefaultWeight, or none where the service has no such name. timeout bounds the wait, 0
// leaves it to the service's startup_timeout. If it fails, an instance that did not run
// before is stopped and the weights stay as they were.
func (m *Manager) Deploy(ctx context.Context, id tenant.ID, w tenant.Weight, timeout time.Duration) (s tenant.Snapshot, created bool, err error) {
	if err := m.awaitReady(ctx, "deploy", id); err != nil {
		return tenant.Snapshot{}, false, err
	}
	service, err := m.service("deploy", id)
	if err != nil {
		return tenant.Snapshot{}, false, err
	}
	first := tenant.Weight{Set: true}
	switch {
	case !service.ServiceHost && w.Set:
		return tenant.Snapshot{}, false, noServiceHost("deploy", tenant.CodeConflict, id)
	case !service.ServiceHost:
		first = w
	case !w.Set:
		w = tenant.Weight{N: tenant.DefaultWeight, Set: true}
	}
	inst, created, err := m.register(ctx, id, service.MaxInstances, first)
	if err != nil {
		return tenant.Snapshot{}, false, err
	}
	ran := inst.up()
	if err := m.wakeWithin(ctx, inst, timeout); err != nil {
		if created && m.undo(ctx, inst, err) {
			return tenant.Snapshot{}, false, err
		}
		if !ran {
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), service.StartupTimeout+service.StopGrace+slack)
			defer cancel()
			err = errors.Join(err, m.putToSleep(stopping, inst, "its deployment failed", false))
		}
		m.tellOf(ctx, event.DeployFailed, id, slog.String("reason", reasonOf(err)))
		return tenant.Snapshot{}, false, err
	}
	if s, err = m.SetWeight(ctx, id, w); err == nil {
		m.tellOf(ctx, event.Deployed, id, weightField(w))
	}
	return s, created, err
}

// wakeWithin is wakeByHand with a bound of its own, 0 for none.
func (m *Manager) wakeWithin(ctx context.Context, inst *instance, timeout time.Duration) error {
	if timeout <= 0 {
		return m.wakeByHand(ctx, inst)
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := m.wakeByHand(bounded, inst)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return &tenant.Error{
			Code: tenant.CodeStartTimeout, Op: "deploy", ID: inst.id, Err: err,
			Msg:  fmt.Sprintf("%s was not ready within %v", inst.id, timeout),
			Hint: fmt.Sprintf("`ten logs %s` shows what it said", inst.id),
		}
	}
	return err
}
