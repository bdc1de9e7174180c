package lifecycle

import (
	"container/list"
	"context"
	"time"
)

const (
	// paceStart is how many requests are released at once when their instance has
	// woken. Fewer are not paced at all.
	paceStart = 16
	// paceTick is after what time more are released although none has been answered,
	// each time twice as many.
	paceTick = 50 * time.Millisecond
	// paceGain is how many are released for each that has been answered.
	paceGain = 2
)

// pacer releases the requests that were held for a wake: an app that has just started
// has a short backlog and cold caches, and gets as many as it can answer. It starts
// slowly, as TCP does (RFC 5681). The instance's mutex guards it.
type pacer struct {
	waiting list.List // of chan struct{}, closed when it is their turn
	budget  int       // how many more may go
	step    int
	timer   *time.Timer
}

// paceLocked has the n requests that waited for a wake released one after the other.
func (m *Manager) paceLocked(inst *instance, n int) {
	inst.process.own().pacer = nil
	if n <= paceStart {
		return
	}
	p := &pacer{budget: paceStart, step: paceStart}
	inst.process.own().pacer = p
	p.timer = time.AfterFunc(paceTick, func() {
		inst.mu.Lock()
		defer inst.mu.Unlock()
		if p.waiting.Len() == 0 {
			if now := inst.process.own(); now.pacer == p {
				now.pacer = nil
			}
			return
		}
		p.step *= 2
		p.releaseLocked(p.step)
		p.timer.Reset(paceTick)
	})
}

func (p *pacer) releaseLocked(n int) {
	p.budget += n
	for p.budget > 0 && p.waiting.Len() > 0 {
		turn, _ := p.waiting.Remove(p.waiting.Front()).(chan struct{})
		p.budget--
		close(turn)
	}
}

// awaitTurn waits for the turn of a request that was held.
func (m *Manager) awaitTurn(ctx context.Context, inst *instance) error {
	inst.mu.Lock()
	p := inst.process.get().pacer
	if p == nil || p.budget > 0 {
		if p != nil {
			p.budget--
		}
		inst.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	place := p.waiting.PushBack(turn)
	inst.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	p.waiting.Remove(place) // its countOut releases others
	return leave(ctx, inst.id)
}
