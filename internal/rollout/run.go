package rollout

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

const (
	// glance is how often the instances of a batch are looked at while they are watched.
	glance = 250 * time.Millisecond
	// again is the wait after the registry could not be written.
	again = 5 * time.Second
	// maxRounds is how often those are tried that cannot even be stopped on the way back.
	maxRounds = 3
	// maxNames is how many instances an event names.
	maxNames = 8
)

// errMoved says that somebody has changed the rollout's state.
var errMoved = errors.New("the rollout's state has changed")

// badError says why the release is bad.
type badError struct{ reason string }

func (e *badError) Error() string { return e.reason }

// run goes through the rollout until it has ended, or ctx has.
func (j *job) run(ctx context.Context) {
	if !j.resumed {
		j.tell("%s: %s instead of %s", j.service, j.release, j.previous)
	}
	watch := j.resumed // what an earlier daemon has changed last
	for ctx.Err() == nil && j.status().State.Active() {
		err := j.advance(ctx, watch)
		watch = false
		var bad *badError
		switch {
		case ctx.Err() != nil, err == nil, errors.Is(err, errMoved):
			continue
		case errors.As(err, &bad):
			err = j.change(ctx, func(r *registry.Rollout) error {
				if r.State != tenant.RolloutRunning && r.State != tenant.RolloutPaused {
					return nil
				}
				r.State, r.Reason = tenant.RolloutBack, bad.reason
				return nil
			})
			if err == nil {
				continue
			}
		}
		j.engine.log.Error("rollout held up", "service", j.service, "release", j.release, "err", err)
		wait(ctx, again)
	}
}

// advance makes the next step.
func (j *job) advance(ctx context.Context, watch bool) error {
	if j.status().State == tenant.RolloutBack {
		return j.back(ctx)
	}
	list := j.engine.fleet.Releases(j.service)
	if begun := pick(list, func(r tenant.Released) bool { return r.Step == tenant.StepChanging }); len(begun) > 0 {
		return j.batch(ctx, begun, true) // one that was being restarted may be down just now
	}
	if watch {
		return j.watch(ctx, pick(list, func(r tenant.Released) bool { return r.Step == tenant.StepChanged && !atRest(r) }), nil)
	}
	switch {
	case j.aborts():
		return j.settle(ctx, tenant.RolloutAborted, "an operator has aborted it")
	case j.status().State == tenant.RolloutPaused:
		if bad := j.bad(nil); bad != nil {
			return bad
		}
		select {
		case <-j.poke:
		case <-ctx.Done():
		}
		return nil
	}
	if bad := j.bad(nil); bad != nil {
		return bad
	}
	left := pick(list, func(r tenant.Released) bool { return lacks(r, j.release) })
	if len(left) == 0 {
		if j.engine.fleet.ServiceRelease(j.service) != j.release {
			return j.engine.fleet.SetServiceRelease(ctx, j.service, j.release) // and another look: who came before it?
		}
		return j.settle(ctx, tenant.RolloutDone, "")
	}
	if canary := j.canary(list); len(canary) > 0 {
		return j.batch(ctx, canary[:min(len(canary), j.plan.Batch)], false)
	}
	if sleepers := pick(left, atRest); len(sleepers) > 0 {
		j.tell("%d at rest get %s with their next start", len(sleepers), j.release)
		return j.give(ctx, sleepers, false)
	}
	return j.batch(ctx, left[:min(len(left), j.plan.Batch)], false)
}

// canary gives the instances that come first and have not been changed yet.
func (j *job) canary(list []tenant.Released) []tenant.Released {
	if len(j.plan.Canary) > 0 {
		return pick(list, func(r tenant.Released) bool { return lacks(r, j.release) && slices.Contains(j.plan.Canary, r.ID.Name) })
	}
	have := len(pick(list, func(r tenant.Released) bool { return !lacks(r, j.release) }))
	left := pick(list, func(r tenant.Released) bool { return lacks(r, j.release) })
	// Of those at rest nothing is learnt.
	slices.SortStableFunc(left, func(a, b tenant.Released) int {
		switch {
		case atRest(a) == atRest(b):
			return 0
		case atRest(b):
			return -1
		}
		return 1
	})
	n := int(math.Ceil(float64(len(list))*j.plan.CanaryPercent/100)) - have
	return left[:min(max(n, 0), len(left))]
}

// batch changes instances, and watches them for a while; see give.
func (j *job) batch(ctx context.Context, list []tenant.Released, begun bool) error {
	restarts := map[tenant.ID]int64{}
	for _, r := range list {
		if s, err := j.engine.fleet.Get(r.ID); err == nil {
			restarts[r.ID] = s.Restarts
		}
	}
	if err := j.give(ctx, list, begun); err != nil {
		return err
	}
	return j.watch(ctx, list, restarts)
}

// give gives instances the release and has those restarted that run without it, a batch at
// a time. Of begun ones those are started, too, that do not run.
func (j *job) give(ctx context.Context, list []tenant.Released, begun bool) error {
	rows := make([]registry.Release, len(list))
	for i, r := range list {
		rows[i] = registry.Release{ID: r.ID, Release: j.release, Before: r.Release, Step: tenant.StepChanging}
		switch {
		case r.Step != tenant.StepNone:
			rows[i].Before = r.Before
		case r.Release == j.release || r.Release == "": // it came with it, and runs with another
			rows[i].Before = j.previous
		}
		if atRest(r) && !begun {
			rows[i].Step = tenant.StepChanged
		}
	}
	if err := j.engine.fleet.SetReleases(ctx, rows); err != nil {
		return err
	}
	var done []registry.Release
	var bad *badError
	var mu sync.Mutex
	j.renew(ctx, rows, begun, func(row registry.Release, took time.Duration, started bool, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil && started:
			j.tell("%s runs with %s (%v)", row.ID, j.release, took.Round(time.Millisecond))
		case err != nil && blameless(err):
			j.tell("%s gets %s with its next start: %s", row.ID, j.release, words(err))
		case err != nil:
			j.tell("%s did not start with %s: %s", row.ID, j.release, words(err))
			if bad == nil {
				bad = &badError{fmt.Sprintf("%s did not start with it: %s", row.ID, words(err))}
			}
			return
		}
		row.Step = tenant.StepChanged
		done = append(done, row)
	})
	if ctx.Err() != nil {
		return ctx.Err() // the next daemon does what is missing
	}
	if err := j.engine.fleet.SetReleases(ctx, done); err != nil {
		return err
	}
	if bad != nil {
		return bad
	}
	return nil
}

// renew has instances restarted that need it, a batch at a time.
func (j *job) renew(ctx context.Context, rows []registry.Release, start bool, tell func(row registry.Release, took time.Duration, started bool, err error)) {
	var wg sync.WaitGroup
	places := make(chan struct{}, j.plan.Batch)
	for _, row := range rows {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-places }()
			begun := time.Now()
			started, err := j.engine.fleet.Renew(ctx, row.ID, start)
			if ctx.Err() == nil {
				tell(row, time.Since(begun), started, err)
			}
		})
	}
	wg.Wait()
}

// blameless reports whether a start failed for what is no fault of the release.
func blameless(err error) bool {
	switch tenant.CodeOf(err) {
	case tenant.CodeUnavailable, tenant.CodeLimit, tenant.CodeNotFound:
		return true
	}
	return false
}

// back gives the instances what they had.
func (j *job) back(ctx context.Context) error {
	fleet := j.engine.fleet
	if fleet.ServiceRelease(j.service) == j.release {
		if err := fleet.SetServiceRelease(ctx, j.service, j.previous); err != nil {
			return err
		}
	}
	var rows []registry.Release
	for _, r := range fleet.Releases(j.service) {
		row := registry.Release{ID: r.ID, Release: r.Release, Step: tenant.StepChanging}
		switch {
		case r.Step != tenant.StepNone:
			row.Release = r.Before
		case atRest(r) || r.Running == "" || r.Running == r.Release || r.Release == "":
			continue // it has not been changed
		}
		row.Before = row.Release // from that there is no way back
		rows = append(rows, row)
	}
	if len(rows) == 0 || j.rounds == maxRounds {
		return j.settle(ctx, tenant.RolledBack, j.status().Reason)
	}
	j.rounds++
	j.tell("%s back what they had", tenant.Count(len(rows), "instance gets", "instances get"))
	if err := fleet.SetReleases(ctx, rows); err != nil {
		return err
	}
	failed := make(chan struct{}, len(rows))
	j.renew(ctx, rows, false, func(row registry.Release, took time.Duration, started bool, err error) {
		switch {
		case err != nil:
			failed <- struct{}{}
			j.tell("%s has %s again, but did not start: %s", row.ID, row.Release, words(err))
		case started:
			j.tell("%s runs with %s again (%v)", row.ID, row.Release, took.Round(time.Millisecond))
		}
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i := range rows {
		rows[i].Step = tenant.StepNone
	}
	if err := fleet.SetReleases(ctx, rows); err != nil {
		return err
	}
	if len(failed) > 0 {
		wait(ctx, again) // before another look
	}
	return nil
}

// settle ends the rollout: nobody is on trial any more.
func (j *job) settle(ctx context.Context, state tenant.RolloutState, reason string) error {
	var rows []registry.Release
	for _, r := range j.engine.fleet.Releases(j.service) {
		if r.Step != tenant.StepNone {
			rows = append(rows, registry.Release{ID: r.ID, Release: r.Release, Before: r.Before, Step: tenant.StepNone})
		}
	}
	if err := j.engine.fleet.SetReleases(ctx, rows); err != nil {
		return err
	}
	return j.change(ctx, func(r *registry.Rollout) error {
		if state == tenant.RolloutDone && r.State != tenant.RolloutRunning {
			return errMoved
		}
		r.State, r.Reason, r.Ended = state, reason, time.Now()
		return nil
	})
}

// lacks reports whether an instance is yet to get a release.
func lacks(r tenant.Released, release string) bool {
	return r.Release != release || !atRest(r) && r.Running != release
}

// atRest reports whether an instance has no process, and takes up its release when it gets
// one.
func atRest(r tenant.Released) bool { return r.State == tenant.Asleep || r.State == tenant.Failed }

func pick(list []tenant.Released, want func(tenant.Released) bool) []tenant.Released {
	var picked []tenant.Released
	for _, r := range list {
		if want(r) {
			picked = append(picked, r)
		}
	}
	return picked
}

// names tells which instances they are, if they are few.
func names(list []tenant.Released) string {
	if len(list) > maxNames {
		return fmt.Sprintf("%d instances", len(list))
	}
	var words []string
	for _, r := range list {
		words = append(words, r.ID.Name)
	}
	return strings.Join(words, ", ")
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
