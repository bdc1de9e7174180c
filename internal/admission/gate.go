package admission

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"tenement.dev/internal/tenant"
)

const (
	// tick is how often the Gate looks again while somebody waits.
	tick = 100 * time.Millisecond
	// slow is after what time a start gives its place back if the processors have
	// nothing to do, and stuck in any case.
	slow  = 500 * time.Millisecond
	stuck = 5 * time.Second
	// idle is the share of the processors' time that is nothing to do.
	idle = 0.25
	// maxWait is how long a start may wait for its place.
	maxWait = time.Minute
	// oldestTurn: every so manieth place is for who has waited longest.
	oldestTurn = 4
)

// The reasons for which a start does not get its place.
var (
	ErrWithdrawn = errors.New("nobody waits for the start any more")
	ErrTooLong   = errors.New("the start has waited too long for its turn")
)

// Options is what a Gate asks of the machine. It asks from Run, without a lock.
type Options struct {
	// Idle gives the share, 0 to 1, of the processors' time that nobody has used since
	// it was called last. Nil: they are never idle.
	Idle func() float64
	// Short reports that memory is short; starting is the number of starts that have a
	// place or have given it back. Nil: it never is.
	Short func(starting int) bool
}

// Gate gives places to starts. Make one with New; it lets in while Run runs.
type Gate struct {
	options Options
	// wake has Run look at the queue.
	wake chan struct{}

	mu     sync.Mutex
	places int
	taken  int     // places that starts have
	turns  int     // places given since the start, for oldestTurn
	in     tickets // starts under way, the first first
	queues [tenant.PriorityOperator + 1]queue
	queued int
}

// New makes a Gate with a number of places.
func New(places int, o Options) *Gate {
	g := &Gate{options: o, wake: make(chan struct{}, 1), places: places}
	for i := range g.queues {
		g.queues[i] = newQueue()
	}
	return g
}

// SetPlaces changes how many starts there may be at a time.
func (g *Gate) SetPlaces(n int) {
	g.mu.Lock()
	g.places = n
	g.mu.Unlock()
	g.look()
}

// Counts are how many starts wait, and how many are under way.
type Counts struct{ Queued, Starting int }

// Counts counts.
func (g *Gate) Counts() Counts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Counts{g.queued, g.in.len()}
}

// look has Run look at the queue.
func (g *Gate) look() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// Run lets in until ctx ends.
func (g *Gate) Run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	ticker.Stop()
	ticking := false
	for {
		now := time.Time{}
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		case now = <-ticker.C:
		}
		waiting := g.turn(now)
		switch {
		case waiting && !ticking:
			ticker.Reset(tick)
			g.idle() // from here on
		case !waiting && ticking:
			ticker.Stop()
		}
		ticking = waiting
	}
}

// turn lets in whom it can and reports whether anybody still waits. At a tick, which
// now is set for, slow starts give their places back.
func (g *Gate) turn(now time.Time) (waiting bool) {
	counts := g.Counts()
	if counts.Queued == 0 {
		return false
	}
	if g.options.Short != nil && g.options.Short(counts.Starting) {
		return true
	}
	share := 0.0
	if !now.IsZero() {
		share = g.idle()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !now.IsZero() {
		g.lendLocked(now, share)
	}
	for g.taken < g.places && g.queued > 0 {
		t := g.nextLocked()
		t.state, t.since = inside, time.Now()
		g.taken++
		t.elem = g.in.add(t)
		close(t.decided)
	}
	return g.queued > 0
}

func (g *Gate) idle() float64 {
	if g.options.Idle == nil {
		return 0
	}
	return g.options.Idle()
}

// lendLocked takes the places of starts that are slow; share is of the processors'
// time that nobody has used. Where the processors are busy, starts are slow because there
// are so many: then no more go on without a place than with one.
func (g *Gate) lendLocked(now time.Time, share float64) {
	lent := 0
	for t := range g.in.all() {
		if t.lent {
			lent++
		}
	}
	spare := 0
	if share >= idle {
		spare = int(math.Ceil(share * float64(g.places)))
	}
	for t := range g.in.all() {
		age := now.Sub(t.since)
		if age < slow {
			return
		}
		if t.lent || age < stuck && spare == 0 {
			continue
		}
		if age < stuck {
			spare--
		} else if share < idle && lent >= g.places {
			continue
		}
		t.lent = true
		lent++
		g.taken--
	}
}

// nextLocked takes the next start out of the queue, which is not empty.
func (g *Gate) nextLocked() *Ticket {
	g.turns++
	g.queued--
	if g.turns%oldestTurn == 0 {
		var oldest *Ticket
		for i := range g.queues {
			if t := g.queues[i].oldest(); t != nil && (oldest == nil || t.at.Before(oldest.at)) {
				oldest = t
			}
		}
		g.queues[oldest.priority].remove(oldest)
		return oldest
	}
	p := tenant.PriorityOperator
	for g.queues[p].count == 0 {
		p--
	}
	return g.queues[p].next()
}
