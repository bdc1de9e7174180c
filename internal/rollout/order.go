package rollout

import (
	"context"
	"fmt"

	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

// Order does what an operator orders: "pause", "resume", "abort" or "rollback".
func (e *Engine) Order(ctx context.Context, service, order string) (tenant.Rollout, error) {
	switch order {
	case "pause":
		return e.Pause(ctx, service)
	case "resume":
		return e.Resume(ctx, service)
	case "abort":
		return e.Abort(ctx, service)
	case "rollback":
		return e.Rollback(ctx, service)
	}
	return tenant.Rollout{}, &tenant.Error{
		Code: tenant.CodeInvalid, Op: "roll out",
		Msg: fmt.Sprintf("%.40q cannot be done to a rollout", order), Hint: "there are pause, resume, abort and rollback",
	}
}

// Pause has a rollout stand still when the instances that are being changed are done.
func (e *Engine) Pause(ctx context.Context, service string) (tenant.Rollout, error) {
	return e.order(ctx, service, func(r *registry.Rollout) error {
		if r.State != tenant.RolloutRunning {
			return conflict(service, "the rollout of %s is "+string(r.State)+", and cannot be paused", "`ten rollout status %s` tells of it")
		}
		r.State, r.Reason = tenant.RolloutPaused, "an operator has paused it"
		return nil
	})
}

// Resume has one that stands still go on.
func (e *Engine) Resume(ctx context.Context, service string) (tenant.Rollout, error) {
	return e.order(ctx, service, func(r *registry.Rollout) error {
		if r.State != tenant.RolloutPaused {
			return conflict(service, "the rollout of %s is "+string(r.State)+", and not paused", "`ten rollout status %s` tells of it")
		}
		r.State, r.Reason = tenant.RolloutRunning, ""
		return nil
	})
}

// Abort ends a rollout where it is, and returns when the instances that are being changed
// are done: each has one release or the other.
func (e *Engine) Abort(ctx context.Context, service string) (tenant.Rollout, error) {
	j, err := e.job(ctx, service)
	if err != nil {
		return tenant.Rollout{}, err
	}
	if state := j.abort(); state != tenant.RolloutRunning && state != tenant.RolloutPaused {
		return tenant.Rollout{}, conflict(service, "the rollout of %s is "+string(state)+", and cannot be aborted", "`ten rollout status %s` tells of it")
	}
	select {
	case <-j.over:
	case <-ctx.Done():
		return tenant.Rollout{}, &tenant.Error{
			Code: tenant.CodeUnavailable, Op: "abort rollout of " + service, Err: context.Cause(ctx),
			Msg: "it ends as soon as the instances that are being changed are done", Hint: fmt.Sprintf("`ten rollout status %s` tells when", service),
		}
	}
	r := j.tellAll()
	if r.State.Active() { // it was cut short by the daemon's end
		return tenant.Rollout{}, &tenant.Error{
			Code: tenant.CodeUnavailable, Op: "abort rollout of " + service,
			Msg: "the daemon is ending, and the next one goes on with the rollout", Hint: "abort it again then",
		}
	}
	return r, nil
}

// Rollback gives the instances of a service the release before: one that goes on goes
// back, after one that has ended another begins, which does not pause.
func (e *Engine) Rollback(ctx context.Context, service string) (tenant.Rollout, error) {
	j, err := e.job(ctx, service)
	if err != nil {
		return tenant.Rollout{}, err
	}
	switch r := j.status(); r.State {
	case tenant.RolledBack:
		return tenant.Rollout{}, conflict(service, "the last rollout of %s has been rolled back already", "`ten rollout status %s` tells of it")
	case tenant.RolloutDone, tenant.RolloutAborted:
		return e.Begin(ctx, service, r.Previous, tenant.RolloutPlan{Batch: r.Plan.Batch})
	}
	return e.order(ctx, service, func(r *registry.Rollout) error {
		switch r.State {
		case tenant.RolloutRunning, tenant.RolloutPaused:
			r.State, r.Reason = tenant.RolloutBack, "an operator has asked for it"
		case tenant.RolloutBack:
		default:
			return conflict(service, "the rollout of %s has just ended: it is "+string(r.State), "`ten rollback %s` once more does it")
		}
		return nil
	})
}

// order changes the state of a service's rollout.
func (e *Engine) order(ctx context.Context, service string, change func(*registry.Rollout) error) (tenant.Rollout, error) {
	j, err := e.job(ctx, service)
	if err != nil {
		return tenant.Rollout{}, err
	}
	if err := j.change(context.WithoutCancel(ctx), change); err != nil {
		return tenant.Rollout{}, err
	}
	return j.tellAll(), nil
}
