package lifecycle

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"tenement.dev/internal/config"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// instance is what the Manager knows of one instance.
type instance struct {
	id tenant.ID
	// weight is guarded by Manager.mu, so that two weights can be exchanged at once.
	weight tenant.Weight
	// seen is the state, for those who do not hold mu and may be a moment late.
	seen atomic.Uint32
	// active is lastActive, in microseconds since 1970, for the same ones.
	active atomic.Int64

	// mu guards everything below.
	mu    sync.Mutex
	state tenant.State
	since time.Time
	// generation changes with each change of state.
	generation uint64
	// op is the operation in progress, or nil.
	op *operation
	// hinted is the ActiveState of the latest hint that came during op.
	hinted string
	// removed: the instance is being or has been destroyed.
	removed bool

	// requests counts those that wait or are being answered, streams the open ones
	// that keep the instance awake by their traffic only.
	requests, streams int
	lastActive        time.Time
	// lastTraffic is when data last went over a stream.
	lastTraffic time.Time
	// startedAt tells one process from the next: ingress.Answer.InitAt of the one that
	// was woken or adopted.
	startedAt int64
	// unasked counts starts of a sleeper that nobody here has asked for, since its
	// last wake; lastHint is what tells one such start from the next.
	unasked  int
	lastHint string
	// spare is a connection to the app that proved it ready, for the first request: an
	// app that takes one at a time shall not be kept busy by one that nobody uses.
	spare net.Conn
	// timer looks whether the instance is idle; nil unless awake or dozing.
	timer *time.Timer
	// patience: no doze and no stop for idleness before, since one has failed.
	patience time.Time
	// cannotDoze: an attempt has shown that the machine cannot freeze it.
	cannotDoze bool

	// loaded: the service manager knows the units; fingerprint is of the spec that
	// they were made from, empty where an earlier daemon made them.
	loaded      bool
	fingerprint string
	port        int
	limits      limited
	storage     stored
	brake       brake
	reason      string

	created      time.Time
	wakes, thaws int64
	lastWake     *tenant.Wake
	// dirty: activity has changed since it was saved.
	dirty bool
}

// operation is work that changes an instance's state. Its fields may be read when
// done is closed.
type operation struct {
	done chan struct{}
	// wake tells wakes from the other kinds: requests join them.
	wake bool
	// fault is why the instance had to be stopped, where it was for a fault of its own: it
	// stays its reason while asleep.
	fault string
	err   error
	woke  *tenant.Wake
}

func newInstance(row registry.Instance, now time.Time) *instance {
	inst := &instance{
		id:         row.ID,
		state:      tenant.Asleep,
		since:      now,
		port:       row.Port,
		created:    row.Created,
		lastActive: row.LastActive,
		wakes:      row.Wakes,
		thaws:      row.Thaws,
		limits:     newLimited(),
	}
	inst.active.Store(row.LastActive.UnixMicro())
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
	i.state, i.since, i.reason = state, now, reason
	i.seen.Store(uint32(state))
	i.generation++
	i.dropSpareLocked()
	if state != tenant.Awake && state != tenant.Dozing && i.timer != nil {
		i.timer.Stop()
		i.timer = nil
	}
}

// dropSpareLocked closes the spare connection that no request has taken.
func (i *instance) dropSpareLocked() {
	if i.spare != nil {
		i.spare.Close()
		i.spare = nil
	}
}

// activeLocked notes activity at now.
func (i *instance) activeLocked(now time.Time) {
	if now.After(i.lastActive) {
		i.lastActive = now
		i.active.Store(now.UnixMicro())
		i.dirty = true
	}
}

// trafficLocked notes data on a stream at now.
func (i *instance) trafficLocked(now time.Time) {
	i.lastTraffic = now
	i.activeLocked(now)
}

// snapshot copies what people may know.
func (i *instance) snapshot(now time.Time) tenant.Snapshot {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := tenant.Snapshot{
		ID:         i.id,
		State:      i.state,
		Reason:     i.reason,
		Unit:       units.ServiceName(i.id),
		InFlight:   i.requests + i.streams,
		Created:    i.created,
		LastActive: i.lastActive,
		Since:      i.since,
		Wakes:      i.wakes,
		Thaws:      i.thaws,
		LastWake:   i.lastWake,
	}
	if i.requests > 0 {
		s.LastActive = now
	}
	if i.state != tenant.Asleep && i.state != tenant.Failed {
		s.Port = i.port
	}
	return s
}

// row gives what the registry keeps of the instance's activity and marks it as
// saved; false where nothing has changed.
func (i *instance) row() (registry.Instance, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.dirty {
		return registry.Instance{}, false
	}
	i.dirty = false
	return registry.Instance{
		ID: i.id, Port: i.port, Created: i.created, LastActive: i.lastActive, Wakes: i.wakes, Thaws: i.thaws,
	}, true
}

// brake slows down and finally ends the starting of an instance that keeps failing.
type brake struct {
	failures []time.Time // those within the restart window
	streak   int         // failures since the last success
	until    time.Time   // no start before
	spent    bool        // no start at all until reset
}

// fail notes a failed start and reports whether the instance has now failed for
// good.
func (b *brake) fail(now time.Time, s config.Settings) bool {
	kept := b.failures[:0]
	for _, at := range b.failures {
		if now.Sub(at) < s.RestartWindow {
			kept = append(kept, at)
		}
	}
	b.failures = append(kept, now)
	b.streak++
	b.until = now.Add(backoff(b.streak, s))
	b.spent = len(b.failures) > s.MaxRestarts
	return b.spent
}

// backoff is the wait after the n-th failed start in a row: 0, base, 2×base … max.
func backoff(n int, s config.Settings) time.Duration {
	if n <= 1 {
		return 0
	}
	wait := s.BackoffBase
	for range n - 2 {
		if wait >= s.BackoffMax {
			break
		}
		wait *= 2
	}
	return min(wait, s.BackoffMax)
}
