package admission

import (
	"container/list"
	"context"
	"iter"
	"time"

	"tenement.dev/internal/tenant"
)

type state uint8

const (
	waiting state = iota
	inside
	gone
)

// Ticket is one start's turn.
type Ticket struct {
	gate    *Gate
	service string
	at      time.Time
	decided chan struct{} // closed when it is inside, or withdrawn

	// The gate's mutex guards what follows.
	priority tenant.Priority
	state    state
	since    time.Time // inside since
	lent     bool      // it has given its place back
	elem     *list.Element
}

// Enter queues the start of an instance of a service.
func (g *Gate) Enter(service string, p tenant.Priority) *Ticket {
	t := &Ticket{gate: g, service: service, at: time.Now(), decided: make(chan struct{}), priority: p}
	g.mu.Lock()
	g.queues[p].add(t)
	g.queued++
	g.mu.Unlock()
	g.look()
	return t
}

// Wait waits for the place. Without an error the caller has it until Leave. The error
// is ErrWithdrawn, ErrTooLong or ctx's.
func (t *Ticket) Wait(ctx context.Context) error {
	timer := time.NewTimer(maxWait - time.Since(t.at))
	defer timer.Stop()
	err := ErrWithdrawn
	select {
	case <-t.decided:
	case <-ctx.Done():
		err = context.Cause(ctx)
		t.Withdraw()
	case <-timer.C:
		err = ErrTooLong
		t.Withdraw()
	}
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	if t.state == inside {
		return nil
	}
	return err
}

// Raise moves a start that waits to a higher class, where it is the last of its
// service; a lower one changes nothing.
func (t *Ticket) Raise(p tenant.Priority) {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	if t.state != waiting || p <= t.priority {
		return
	}
	t.gate.queues[t.priority].remove(t)
	t.priority = p
	t.gate.queues[p].add(t)
}

// Withdraw gives the turn up. It does nothing where the start has its place already.
func (t *Ticket) Withdraw() {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	if t.state != waiting {
		return
	}
	t.gate.queues[t.priority].remove(t)
	t.gate.queued--
	t.state = gone
	close(t.decided)
}

// Leave says that the start is over, or gives the turn up.
func (t *Ticket) Leave() {
	t.Withdraw()
	t.gate.mu.Lock()
	if t.state == inside {
		t.state = gone
		t.gate.in.list.Remove(t.elem)
		if !t.lent {
			t.gate.taken--
		}
	}
	t.gate.mu.Unlock()
	t.gate.look()
}

// tickets is a list of tickets.
type tickets struct{ list list.List }

func (l *tickets) add(t *Ticket) *list.Element { return l.list.PushBack(t) }

func (l *tickets) len() int { return l.list.Len() }

func (l *tickets) first() *Ticket {
	e := l.list.Front()
	if e == nil {
		return nil
	}
	t, _ := e.Value.(*Ticket)
	return t
}

func (l *tickets) all() iter.Seq[*Ticket] {
	return func(yield func(*Ticket) bool) {
		for e := l.list.Front(); e != nil; e = e.Next() {
			if t, ok := e.Value.(*Ticket); ok && !yield(t) {
				return
			}
		}
	}
}

// queue is those of one class, in a line for each service; the lines take turns.
type queue struct {
	lines map[string]*tickets
	turns []string // the services that have a line, the next first
	count int
}

func newQueue() queue { return queue{lines: map[string]*tickets{}} }

func (q *queue) add(t *Ticket) {
	line := q.lines[t.service]
	if line == nil {
		line = &tickets{}
		q.lines[t.service] = line
		q.turns = append(q.turns, t.service)
	}
	t.elem = line.add(t)
	q.count++
}

func (q *queue) remove(t *Ticket) {
	line := q.lines[t.service]
	line.list.Remove(t.elem)
	q.count--
	if line.len() > 0 {
		return
	}
	delete(q.lines, t.service)
	for i, service := range q.turns {
		if service == t.service {
			q.turns = append(q.turns[:i], q.turns[i+1:]...)
			break
		}
	}
}

// next takes the first of the service whose turn it is.
func (q *queue) next() *Ticket {
	service := q.turns[0]
	q.turns = append(q.turns[1:], service)
	t := q.lines[service].first()
	q.remove(t)
	return t
}

// oldest gives who has waited longest, nil if nobody waits. The first of a line may
// have come from a lower class, and still be older than the others.
func (q *queue) oldest() *Ticket {
	var oldest *Ticket
	for _, line := range q.lines {
		if t := line.first(); oldest == nil || t.at.Before(oldest.at) {
			oldest = t
		}
	}
	return oldest
}
