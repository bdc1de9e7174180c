package lifecycle

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"tenement.dev/internal/admission"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// instance is what the Manager knows of one instance.
type instance struct {
	id     tenant.ID
	common *common
	// weight is guarded by Manager.mu, so that two weights can be exchanged at once.
	weight rare[tenant.Weight]
	// seen is the state, for those who do not hold mu and may be a moment late.
	seen atomic.Uint32
	// active is lastActive, in microseconds since 1970, for the same ones.
	active atomic.Int64
	meter  tenant.Meter

	// mu guards everything below. What most instances never need is rare, and what takes one
	// byte stands together: there may be very many that only sleep (TestSleeperIsSmall).
	mu    sync.Mutex
	state tenant.State
	// removed: the instance is being or has been destroyed.
	removed bool
	// cannotDoze: an attempt has shown that the machine cannot freeze it.
	cannotDoze bool
	// loaded: the service manager knows the units.
	loaded bool
	// armed: it is asleep, and its ten-init waits with the app; see armed.go.
	armed bool
	// reviving: the next start is the Manager's own doing, and so is the one after a failure.
	reviving bool
	// draining: ending is closed, and those that the process serves may still end.
	draining bool
	// dirty: it is among those that are to be saved; see changedLocked.
	dirty bool
	since time.Time
	// generation changes with each change of state.
	generation uint64
	// op is the operation in progress, or nil.
	op *operation

	// requests counts those that wait or are being answered, streams the open ones
	// that keep the instance awake by their traffic only.
	requests, streams int
	lastActive        time.Time
	// startedAt tells one process from the next: ingress.Answer.InitAt of the one that
	// was woken or adopted.
	startedAt int64
	process   rare[process]
	leases    rare[leases]
	cpu       rare[cpuWatch]
	// timer looks whether the instance is idle; nil unless awake or dozing.
	timer *time.Timer

	unit     rare[unit]
	arming   rare[arming]
	port     int
	limits   rare[limited]
	released rare[released]
	storage  rare[stored]
	used     *used // nil while it has only slept; see useLocked
	brake    rare[brake]
	reason   string
	health   rare[health]
	// revival is the next start, where it is the Manager's own doing and there is a wait
	// before it.
	revival *revival

	// serving counts requests and streams that were admitted to the present process and
	// may use it.
	serving int

	created      moment
	wakes, thaws int64
	lastWake     *tenant.Wake
	// wokenBy is what woke it last, at wokenAt; rested is why it went to sleep.
	wokenBy tenant.Cause
	wokenAt moment
	rested  string
	// before is what an earlier daemon has left, until it is adopted or woken.
	before *before
	// unwoken counts, by kind, the requests that found it at rest and left it so.
	unwoken *[8]int64 // nil for none
}

// process is what is known of the process that is believed to run.
type process struct {
	// exit is how it has ended, where a hint has told.
	exit *units.Exit
	// spare is a connection to the app that proved it ready, for the first request: an
	// app that takes one at a time shall not be kept busy by one that nobody uses.
	spare net.Conn
	// ending is closed when it is about to be stopped; drained, where somebody waits for
	// that, is closed when it serves nobody.
	ending, drained chan struct{}
	// pacer releases the requests that were held for the last wake, nil where there
	// are none.
	pacer *pacer
	// lastTraffic is when data last went over a stream.
	lastTraffic time.Time
	// patience: no doze and no stop for idleness before, since one has failed.
	patience time.Time
}

// unit is what is known of the units, as they are loaded or were.
type unit struct {
	// fingerprint is of the spec that they were made from, empty where an earlier daemon
	// made them.
	fingerprint string
	// unasked counts the starts of a sleeper that nobody here has asked for, since its last
	// wake; lastHint is what tells one such start from the next.
	unasked  int
	lastHint string
	// applied are the limits that they are known to have. Where an earlier daemon has loaded
	// them none is known.
	applied tenant.Limits
	// loads counts how often they were loaded or unloaded.
	loads int
}

// leases are until when the app and an operator want the instance awake.
type leases struct{ app, operator time.Time }

// operation is work that changes an instance's state. Its fields may be read when
// done is closed.
type operation struct {
	done chan struct{}
	// wake tells wakes from the other kinds: requests join them.
	wake bool
	// same: the process that runs is the same after it, and cannot be reached meanwhile.
	same bool
	err  error
	woke *tenant.Wake
	// fate is what a stop leads to, nil for sleep.
	fate *fate
	// becomes is the state that the operation leads to.
	becomes tenant.State
	// hinted is the ActiveState of the latest hint that came meanwhile.
	hinted string
	// judged, where the operation is to find out how the process has ended, is closed when
	// a hint has told.
	judged chan struct{}

	// The instance's mutex guards what follows. waiters wait for the end; priority is
	// of the most important who has; ticket is a cold start's place in the queue.
	waiters  int
	priority tenant.Priority
	ticket   *admission.Ticket
	// cancel ends a wake that has begun; givenUp: somebody has called it, or would
	// have.
	cancel  context.CancelCauseFunc
	givenUp bool
	// forced: somebody has asked for the wake, whatever brakes the instance. yields: the
	// wake does not begin any more, if it has not.
	forced, yields bool
	// actor is who has asked for the operation, empty for Tenement itself and for visitors.
	actor tenant.Actor
}

func newInstance(row registry.Instance, kept registry.Brake, now time.Time, common *common) *instance {
	inst := &instance{
		id:         row.ID,
		common:     common,
		state:      tenant.Asleep,
		since:      now,
		port:       row.Port,
		created:    momentOf(row.Created),
		lastActive: row.LastActive,
		wakes:      row.Wakes,
		thaws:      row.Thaws,
		wokenBy:    row.WokenBy,
		wokenAt:    momentOf(row.WokenAt),
	}
	if len(kept.Failures) > 0 || kept.Failed || kept.Restarts > 0 {
		*inst.brake.own() = brake{failures: kept.Failures, spent: kept.Failed, restarts: kept.Restarts}
	}
	if l := (leases{row.AppLease, row.OperatorLease}); l != (leases{}) {
		*inst.leases.own() = l
	}
	if row.LastWake != (tenant.Wake{}) {
		wake := row.LastWake // and not the whole row
		inst.lastWake = &wake
	}
	inst.active.Store(row.LastActive.UnixMicro())
	if !row.RestsSince.IsZero() {
		inst.since, inst.rested, inst.reason = row.RestsSince, row.Rested, row.Reason
	}
	if kept.Failed {
		inst.state, inst.reason = tenant.Failed, kept.Reason
		inst.seen.Store(uint32(tenant.Failed))
	}
	return inst
}

// beginLocked registers an operation; there must be none.
func (i *instance) beginLocked(wake bool) *operation {
	op := &operation{done: make(chan struct{}), wake: wake}
	i.op = op
	return op
}

// endLocked ends the operation and lets everybody look again.
func (i *instance) endLocked(op *operation, err error) {
	op.err = err
	i.op = nil
	close(op.done)
}

// setLocked changes the state. reason explains it to people, where there is more to
// say than the state itself.
func (i *instance) setLocked(state tenant.State, now time.Time, reason string) {
	from := i.state
	i.useLocked()
	i.passLocked(now)
	if from == tenant.Dozing {
		i.used.rememberLocked() // it had less than the next look will tell
	}
	i.state, i.since, i.reason = state, now, reason
	i.changedLocked()
	i.tellStateLocked(from, now)
	i.seen.Store(uint32(state))
	i.generation++
	if p := i.process.made; p != nil {
		p.exit = nil
	}
	i.dropSpareLocked()
	i.dropRevivalLocked()
	i.health.made.resetLocked()
	if state != tenant.Awake && state != tenant.Dozing && i.timer != nil {
		i.timer.Stop()
		i.timer = nil
	}
}

// dropSpareLocked closes the spare connection that no request has taken.
func (i *instance) dropSpareLocked() {
	if p := i.process.made; p != nil && p.spare != nil {
		p.spare.Close()
		p.spare = nil
	}
}

// activeLocked notes activity at now.
func (i *instance) activeLocked(now time.Time) {
	if now.After(i.lastActive) {
		i.lastActive = now
		i.active.Store(now.UnixMicro())
		i.changedLocked()
	}
}

// lastActiveLocked is when the last request ended, now while there is one.
func (i *instance) lastActiveLocked(now time.Time) time.Time {
	if i.requests > 0 {
		return now
	}
	return i.lastActive
}

// trafficLocked notes data on a stream at now.
func (i *instance) trafficLocked(now time.Time) {
	i.process.own().lastTraffic = now
	i.activeLocked(now)
}

// snapshotLocked copies what people may know.
func (i *instance) snapshotLocked(now time.Time) tenant.Snapshot {
	s := tenant.Snapshot{
		ID:         i.id,
		State:      i.state,
		Reason:     i.reason,
		Unit:       units.ServiceName(i.id),
		InFlight:   i.requests + i.streams,
		Created:    i.created.time(),
		LastActive: i.lastActiveLocked(now),
		Since:      i.since,
		Wakes:      i.wakes,
		Thaws:      i.thaws,
		LastWake:   i.lastWake,
		Leases:     i.leasesLocked(now),
		Armed:      i.armed,
		Restarts:   i.brake.get().restarts,
		Unwoken:    unwokenCounts(i.unwoken),
		Traffic:    i.meter.Traffic(),
		Failing:    i.state == tenant.Asleep && (i.reviving || i.rested == startFailed),
	}
	if i.state == tenant.Awake {
		health := i.health.get()
		s.Health, s.Reason = health.tell()
	}
	if i.state.Runs() {
		s.Port = i.port
	}
	return s
}
