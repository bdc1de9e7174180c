package apitest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tenement.dev/internal/tenant"
)

// Rollouts keeps a rollout of the service notes in memory. One to release "bad" goes back,
// one to "slow" stays running until it is told otherwise, and every other one is done.
type Rollouts struct {
	mu     sync.Mutex
	latest tenant.Rollout
	events []tenant.RolloutEvent
	news   chan struct{}
}

func newRollouts() *Rollouts { return &Rollouts{news: make(chan struct{})} }

func (r *Rollouts) checkLocked(service string) error {
	if r.latest.Service == service {
		return nil
	}
	return &tenant.Error{
		Code: tenant.CodeNotFound, Op: "roll out",
		Msg: fmt.Sprintf("there has been no rollout of %s", service), Hint: fmt.Sprintf("`ten rollout %s --release NAME` begins one", service),
	}
}

func (r *Rollouts) setLocked(state tenant.RolloutState, reason string) {
	r.latest.State, r.latest.Reason = state, reason
	r.events = append(r.events, tenant.RolloutEvent{At: time.Unix(0, 0), Text: "the rollout is " + string(state)})
	close(r.news)
	r.news = make(chan struct{})
}

// Begin begins a rollout.
func (r *Rollouts) Begin(_ context.Context, service, release string, plan tenant.RolloutPlan) (tenant.Rollout, error) {
	if err := tenant.CheckRelease(release); err != nil {
		return tenant.Rollout{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latest = tenant.Rollout{Service: service, Release: release, Previous: "v1", Plan: plan, Instances: 3, Begun: time.Unix(0, 0)}
	r.events = nil
	r.setLocked(tenant.RolloutRunning, "")
	begun := r.latest
	switch release {
	case "bad":
		r.setLocked(tenant.RolledBack, "notes:alice did not start with it: \x1b[31mno such file")
	case "slow":
	default:
		r.latest.Changed = 3
		r.setLocked(tenant.RolloutDone, "")
	}
	return begun, nil
}

// Order does what is ordered.
func (r *Rollouts) Order(_ context.Context, service, order string) (tenant.Rollout, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.checkLocked(service); err != nil {
		return tenant.Rollout{}, err
	}
	states := map[string]tenant.RolloutState{"pause": tenant.RolloutPaused, "resume": tenant.RolloutRunning, "abort": tenant.RolloutAborted}
	told := r.latest
	if order == "rollback" {
		told.State = tenant.RolloutBack
		r.setLocked(tenant.RolledBack, "an operator has asked for it")
		return told, nil
	}
	if !r.latest.State.Active() {
		return told, &tenant.Error{Code: tenant.CodeConflict, Op: "roll out", Msg: fmt.Sprintf("the rollout of %s is %s", service, told.State)}
	}
	r.setLocked(states[order], "an operator has asked for it")
	return r.latest, nil
}

// Status tells of it.
func (r *Rollouts) Status(_ context.Context, service string) (tenant.Rollout, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest, r.checkLocked(service)
}

// Follow tells its events.
func (r *Rollouts) Follow(ctx context.Context, service string, from int) ([]tenant.RolloutEvent, int, tenant.Rollout, error) {
	for {
		r.mu.Lock()
		err, news, latest, events := r.checkLocked(service), r.news, r.latest, r.events
		r.mu.Unlock()
		if err != nil || from < len(events) || !latest.State.Active() {
			return events[min(from, len(events)):], len(events), latest, err
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, from, latest, context.Cause(ctx)
		}
	}
}
