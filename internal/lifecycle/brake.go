package lifecycle

import (
	"time"

	"tenement.dev/internal/config"
)

// brake slows down and finally ends the starting of an instance that keeps failing, be
// it at its start or later. Only time and people undo a failure: an app that starts well
// and ends at once is in a loop too.
type brake struct {
	failures []time.Time // those within the restart window
	until    time.Time   // no start before
	spent    bool        // no start at all until somebody asks for it
	restarts int64       // starts again after failures, in all
	dirty    bool        // has changed since it was saved
}

func (b *brake) forgetOld(now time.Time, s config.Settings) {
	kept := b.failures[:0]
	for _, at := range b.failures {
		if now.Sub(at) < s.RestartWindow {
			kept = append(kept, at)
		}
	}
	b.failures = kept
}

// fail notes a failure and reports whether the instance has now failed for good; one that had
// before has, whoever has asked for another start.
func (b *brake) fail(now time.Time, s config.Settings) bool {
	b.forgetOld(now, s)
	b.failures = append(b.failures, now)
	b.until = now.Add(backoff(len(b.failures), s))
	b.spent = b.spent || len(b.failures) > s.MaxRestarts
	b.dirty = true
	return b.spent
}

// release lets the instance start, since it runs.
func (b *brake) release() {
	if b == nil {
		return
	}
	b.dirty = b.dirty || b.spent
	b.until, b.spent = time.Time{}, false
}

// reset forgets the failures, since somebody has seen to them: a start that was asked for
// has succeeded.
func (b *brake) reset() {
	if b == nil {
		return
	}
	b.dirty = b.dirty || b.spent || len(b.failures) > 0
	b.failures, b.until, b.spent = nil, time.Time{}, false
}

// backoff is the wait after the n-th failure within the window: 0, base, 2×base … max.
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
