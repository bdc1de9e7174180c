package lifecycle

import (
	"context"
	"sync"
	"time"
)

// taskGroup runs the Manager's work on goroutines that Run waits for.
type taskGroup struct {
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// do runs f on a goroutine of its own. Once the group is closed nobody waits for it
// any more; its context has ended then, and f only tells those who wait for f.
func (g *taskGroup) do(f func()) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		go f()
		return
	}
	g.wg.Go(f)
	g.mu.Unlock()
}

// close waits for all tasks.
func (g *taskGroup) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.wg.Wait()
}

// rest waits for d; false if ctx ended.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
