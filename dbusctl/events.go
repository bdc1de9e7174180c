package dbusctl

import (
	"context"
	"sync"

	"tenement.dev/units"
)

// events holds what a reader of Events has not seen yet: at most one state per unit,
// the latest.
type events struct {
	out  chan units.UnitState
	wake chan struct{} // has one element while there may be something new

	mu     sync.Mutex // guards what follows; nothing else is locked under it
	count  uint64     // of everything noted so far
	latest map[string]event
	queue  []string // keys of latest, each once, oldest first
	all    uint64   // count of the latest "look at everything again", 0 if none is due
}

// event is a state and when it was noted, which tells it from a later, equal one.
type event struct {
	state units.UnitState // zero: look at everything again
	at    uint64
}

func newEvents() *events {
	return &events{
		out:    make(chan units.UnitState),
		wake:   make(chan struct{}, 1),
		latest: make(map[string]event),
	}
}

// put notes the newest state of a unit.
func (e *events) put(st units.UnitState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.latest[st.Name]; !ok {
		e.queue = append(e.queue, st.Name)
	}
	e.count++
	e.latest[st.Name] = event{st, e.count}
	notify(e.wake)
}

// resync notes that everything must be looked at again. What was waiting for the
// reader is part of everything.
func (e *events) resync() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.latest)
	e.queue = nil
	e.count++
	e.all = e.count
	notify(e.wake)
}

// next gives what the reader should see next; ok is false if there is nothing.
func (e *events) next() (ev event, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all != 0 {
		return event{at: e.all}, true
	}
	if len(e.queue) == 0 {
		return event{}, false
	}
	return e.latest[e.queue[0]], true
}

// sent notes that the reader has seen ev. What came since then stays.
func (e *events) sent(ev event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch name := ev.state.Name; {
	case e.all == ev.at:
		e.all = 0
	case len(e.queue) > 0 && e.queue[0] == name && e.latest[name].at == ev.at:
		delete(e.latest, name)
		e.queue = e.queue[1:]
	}
}

// pump hands the events to the reader until ctx ends.
func (e *events) pump(ctx context.Context) {
	for {
		ev, ok := e.next()
		out := e.out
		if !ok {
			out = nil
		}
		select {
		case out <- ev.state:
			e.sent(ev)
		case <-e.wake: // ev may be old by now
		case <-ctx.Done():
			return
		}
	}
}

// notify puts an element into a channel of capacity one, if it is empty.
func notify(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
