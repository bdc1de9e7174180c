package lifecycle

import (
	"slices"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

// before is what an earlier daemon has saved of an instance's state: asleep or failed since
// rests, or else in state runs since runsSince, in the process that began at process.
type before struct {
	rests     time.Time
	reason    string
	runs      tenant.State
	runsSince time.Time
	process   int64
}

// newBefore is what a row says, nil where that is nothing.
func newBefore(row registry.Instance) *before {
	b := before{row.RestsSince, row.Reason, row.Runs, row.RunsSince, row.Process}
	if b == (before{}) {
		return nil
	}
	return &b
}

// takeBeforeLocked gives what an earlier daemon has left, once.
func (i *instance) takeBeforeLocked() before {
	b := i.before
	i.before = nil
	if b == nil {
		return before{}
	}
	return *b
}

// same reports whether the instance whose ten-init answers is as it was left: in the same
// process, and the same state.
func (b before) same(answer ingress.Answer) bool {
	state := tenant.Awake
	if answer.Dozing {
		state = tenant.Dozing
	}
	return !b.runsSince.IsZero() && answer.ReadyAt != 0 && b.process == answer.InitAt && b.runs == state
}

// goOnLocked has an adopted instance go on as it was left: since when it is in its state, and
// for how long it has been idle. Of one that nothing is known of, the first is what its
// ten-init says, held within what can be.
//
// It must not rest too early. Where the daemon before was killed, the last requests that it
// served may not be saved, so the idle time begins anew.
func (i *instance) goOnLocked(now time.Time, b before, answer ingress.Answer, orderly bool) {
	same := b.same(answer)
	switch {
	case same:
		i.since = b.runsSince
	case i.state == tenant.Awake && b.process != answer.InitAt:
		i.since = now.Add(-time.Duration(max(ingress.Monotonic()-answer.ReadyAt, 0)))
		if created := i.created.time(); i.since.Before(created) {
			i.since = created
		}
	}
	if i.since.After(now) { // the clock has been set back
		i.since = now
	}
	if !same || !orderly {
		i.activeLocked(now)
	}
}

// setBack corrects what an earlier daemon has saved by a clock that has been set back since:
// what has happened is not yet to come, and no app has a lease for longer than one may be.
func (m *Manager) setBack(row *registry.Instance, kept *registry.Brake, now time.Time) {
	for _, at := range []*time.Time{&row.LastActive, &row.RestsSince} {
		if at.After(now) {
			*at = now
		}
	}
	if slices.ContainsFunc(kept.Failures, now.Before) {
		kept.Failures = slices.Clone(kept.Failures)
		for i, at := range kept.Failures {
			if at.After(now) {
				kept.Failures[i] = now
			}
		}
	}
	if service, ok := m.config.Load().Services[row.ID.Service]; ok {
		if most := now.Add(service.KeepAwakeMax); row.AppLease.After(most) {
			row.AppLease = most
		}
	}
}
