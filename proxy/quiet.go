package proxy

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"tenement.dev/internal/tenant"
)

// An instance gets quietBurst lines for failed requests in each quietWindow; the others
// are counted.
const (
	quietBurst  = 5
	quietWindow = 10 * time.Second
)

// quiet bounds how many lines are logged for each instance: an app that fails with every
// request shall not fill the log.
type quiet struct {
	log *slog.Logger

	mu sync.Mutex // guards by
	// by has a window for each instance with lines in it; those without an instance share
	// that of the zero ID.
	by map[tenant.ID]*window
}

// window is a while in which so many lines were logged, and so many left out.
type window struct {
	begun         time.Time
	lines, missed int
}

func newQuiet(log *slog.Logger) *quiet { return &quiet{log: log, by: map[tenant.ID]*window{}} }

// may reports whether a line may be logged now for an instance.
func (q *quiet) may(id tenant.ID, now time.Time) bool {
	q.mu.Lock()
	w := q.by[id]
	missed := 0
	if w == nil || now.Sub(w.begun) >= quietWindow {
		if w != nil {
			missed = w.missed
		}
		w = &window{begun: now}
		q.by[id] = w
	}
	may := w.lines < quietBurst
	if may {
		w.lines++
	} else {
		w.missed++
	}
	q.mu.Unlock()
	q.tell(id, missed)
	return may
}

// tell says how many lines were left out.
func (q *quiet) tell(id tenant.ID, missed int) {
	if missed == 0 {
		return
	}
	instance := ""
	if !id.IsZero() {
		instance = id.String()
	}
	q.log.Warn("more requests failed", "instance", instance, "count", missed, "within", quietWindow)
}

// sweep ends the windows that are over, and says what was left out.
func (q *quiet) sweep(now time.Time) {
	missed := map[tenant.ID]int{}
	q.mu.Lock()
	for id, w := range q.by {
		if now.Sub(w.begun) >= quietWindow {
			missed[id] = w.missed
			delete(q.by, id)
		}
	}
	q.mu.Unlock()
	for id, n := range missed {
		q.tell(id, n)
	}
}

// run sweeps until ctx ends.
func (q *quiet) run(ctx context.Context) {
	tick := time.NewTicker(quietWindow)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			q.sweep(time.Now().Add(quietWindow))
			return
		case now := <-tick.C:
			q.sweep(now)
		}
	}
}
