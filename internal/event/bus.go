package event

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"
)

// Kept is how many events a Bus keeps for those who follow it, where nobody says.
const Kept = 8192

// batch is how many events a follower takes at a time.
const batch = 128

// Gap is the error of a follower that has missed events.
type Gap struct {
	// Missed is how many, 0 where that is not known: they were of another daemon's time.
	Missed uint64
}

func (g *Gap) Error() string {
	if g.Missed == 0 {
		return "events before this daemon's start are not kept"
	}
	return fmt.Sprintf("%d events were missed", g.Missed)
}

// Bus tells followers of events. A nil Bus has none and tells nobody.
type Bus struct {
	run uint64

	mu   sync.Mutex // guards what follows
	ring []Event    // the event number n is at n modulo its length
	last uint64     // the latest one's number
	more chan struct{}
}

// NewBus makes a Bus that keeps the latest n events.
func NewBus(n int) *Bus {
	return &Bus{run: uint64(time.Now().UnixMicro()), ring: make([]Event, n)}
}

// Publish tells of an event; it sets its ID, and its Time where that is zero. It waits
// for nobody.
func (b *Bus) Publish(e Event) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	b.last++
	e.ID = ID{b.run, b.last}
	b.ring[b.last%uint64(len(b.ring))] = e
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
}

// Last is the latest event's ID; its number is 0 where there was none.
func (b *Bus) Last() ID {
	if b == nil {
		return ID{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return ID{b.run, b.last}
}

// Start is the place before the first event.
func (b *Bus) Start() ID { return ID{Run: b.Last().Run} }

// Follow gives the events after the one with that ID, as they come, until ctx ends; with
// the zero ID, those after this call. Where some are not kept any more it gives a *Gap
// instead, with an empty event, and then those that are.
func (b *Bus) Follow(ctx context.Context, after ID) iter.Seq2[Event, error] {
	last := b.Last()
	next, foreign := after.N+1, false
	switch {
	case after == ID{}:
		next = last.N + 1
	case after.Run != last.Run || after.N > last.N:
		next, foreign = 1, true
	}
	return func(yield func(Event, error) bool) {
		if b == nil {
			<-ctx.Done()
			return
		}
		if foreign && !yield(Event{}, &Gap{}) {
			return
		}
		next := next
		var list []Event
		for {
			var missed uint64
			var more <-chan struct{}
			list, missed, more = b.take(list[:0], next)
			if missed > 0 && !foreign && !yield(Event{}, &Gap{missed}) {
				return
			}
			foreign = false
			for _, e := range list {
				if ctx.Err() != nil || !yield(e, nil) {
					return
				}
				next = e.ID.N + 1
			}
			if more == nil {
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-more:
			}
		}
	}
}

// take appends to list the events from number next on, at most batch of them. missed is
// how many of them are not kept any more. Where there is none yet, more is closed by the
// next one.
func (b *Bus) take(list []Event, next uint64) (_ []Event, missed uint64, more <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	size := uint64(len(b.ring))
	if first := b.last - min(b.last, size) + 1; next < first {
		missed, next = first-next, first
	}
	for n := next; n <= b.last && len(list) < batch; n++ {
		list = append(list, b.ring[n%size])
	}
	if len(list) == 0 {
		if b.more == nil {
			b.more = make(chan struct{})
		}
		more = b.more
	}
	return list, missed, more
}
