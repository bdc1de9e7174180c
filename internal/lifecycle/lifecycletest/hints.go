package lifecycletest

import (
	"context"
	"sync"
	"time"

	"tenement.dev/units"
)

// hints delivers hints in order, each no earlier than its latency says.
type hints struct {
	out  chan units.Status
	more chan struct{}

	mu      *sync.Mutex // guards what follows
	queue   *[]units.Status
	latency *func() time.Duration
}

func newHints() hints {
	none := func() time.Duration { return 0 }
	return hints{
		out: make(chan units.Status), more: make(chan struct{}, 1),
		mu: new(sync.Mutex), queue: new([]units.Status), latency: &none,
	}
}

func (h hints) setLatency(f func() time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*h.latency = f
}

func (h hints) put(s units.Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*h.queue = append(*h.queue, s)
	select {
	case h.more <- struct{}{}:
	default:
	}
}

func (h hints) pump(ctx context.Context) {
	for {
		h.mu.Lock()
		list := *h.queue
		*h.queue = nil
		latency := *h.latency
		h.mu.Unlock()
		for _, s := range list {
			if !pause(ctx, latency()) {
				return
			}
			select {
			case h.out <- s:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-h.more:
		case <-ctx.Done():
			return
		}
	}
}
