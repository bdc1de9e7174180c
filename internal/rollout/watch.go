package rollout

import (
	"context"
	"fmt"
	"time"

	"tenement.dev/internal/tenant"
)

// watch looks at instances for as long as the plan says, once at least.
func (j *job) watch(ctx context.Context, list []tenant.Released, restarts map[tenant.ID]int64) error {
	if len(list) == 0 {
		return nil
	}
	if j.plan.Pause > 0 {
		j.tell("watching %s for %v", names(list), j.plan.Pause)
	}
	if restarts == nil {
		restarts = map[tenant.ID]int64{}
		for _, r := range list {
			if s, err := j.engine.fleet.Get(r.ID); err == nil {
				restarts[r.ID] = s.Restarts
			}
		}
	}
	end := time.Now().Add(j.plan.Pause)
	for {
		if bad := j.bad(restarts); bad != nil {
			return bad
		}
		left := time.Until(end)
		if left <= 0 || ctx.Err() != nil {
			return nil
		}
		if j.aborts() || j.status().State == tenant.RolloutBack {
			return errMoved
		}
		timer := time.NewTimer(min(left, glance))
		select {
		case <-timer.C:
		case <-j.poke:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// bad says why the release is bad, as far as is known: one on trial did not start with it,
// one of those that are watched is not well, or it answers worse. It is nil if it is not.
func (j *job) bad(restarts map[tenant.ID]int64) error {
	j.mu.Lock()
	refused := j.refused
	j.mu.Unlock()
	if refused != "" {
		return &badError{refused}
	}
	for id, before := range restarts {
		s, err := j.engine.fleet.Get(id)
		switch {
		case err != nil: // destroyed meanwhile
		case s.State == tenant.Failed:
			return &badError{fmt.Sprintf("%s has failed with it: %s", id, s.Reason)}
		case s.Health == tenant.Unhealthy:
			return &badError{fmt.Sprintf("%s is unhealthy with it: %s", id, s.Reason)}
		case s.Restarts > before:
			return &badError{fmt.Sprintf("%s has failed with it, and was started again", id)}
		}
	}
	if worse := j.engine.meter.worse(j.service, j.release); worse != "" {
		return &badError{worse}
	}
	return nil
}
