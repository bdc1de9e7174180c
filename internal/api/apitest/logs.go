package apitest

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"tenement.dev/internal/api"
	"tenement.dev/internal/wire"
)

// Logs keeps entries in memory and tells followers of new ones.
type Logs struct {
	mu        sync.Mutex
	entries   map[string][]wire.LogEntry
	changed   chan struct{} // closed with each change
	followers int
	err       error
}

func newLogs() *Logs {
	return &Logs{entries: map[string][]wire.LogEntry{}, changed: make(chan struct{})}
}

// Add has a unit print a line now; manager says that systemd did.
func (l *Logs) Add(unit, message string, manager bool) { l.AddAt(time.Now(), unit, message, manager) }

// AddAt is Add at another time.
func (l *Logs) AddAt(at time.Time, unit, message string, manager bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.entries[unit]
	l.entries[unit] = append(list, wire.LogEntry{
		Time: at, Message: message, Priority: 6, PID: 42, Identifier: "app", Manager: manager,
		Cursor: fmt.Sprintf("s=%x;i=%x", 7, len(list)),
	})
	l.changeLocked()
}

// Break ends all reading, from now on, with err.
func (l *Logs) Break(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	l.changeLocked()
}

// AwaitFollowers waits until n read with Follow.
func (l *Logs) AwaitFollowers(ctx context.Context, n int) error {
	for {
		l.mu.Lock()
		now, changed := l.followers, l.changed
		l.mu.Unlock()
		if now == n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d followers, want %d: %w", now, n, ctx.Err())
		}
	}
}

func (l *Logs) changeLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Logs) follow(by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.followers += by
	l.changeLocked()
}

// Read implements api.Logs.
func (l *Logs) Read(ctx context.Context, q api.LogQuery) iter.Seq2[wire.LogEntry, error] {
	return func(yield func(wire.LogEntry, error) bool) {
		if q.Follow {
			l.follow(1)
			defer l.follow(-1)
		}
		given := 0
		for first := true; ; first = false {
			l.mu.Lock()
			list, changed, err := l.entries[q.Unit], l.changed, l.err
			l.mu.Unlock()
			var fit []wire.LogEntry
			for _, e := range list[given:] {
				if !e.Time.Before(q.Since) {
					fit = append(fit, e)
				}
			}
			given = len(list)
			if first && q.Lines >= 0 {
				fit = fit[max(0, len(fit)-q.Lines):]
			}
			for _, e := range fit {
				if !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(wire.LogEntry{}, err)
				return
			}
			if !q.Follow {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				yield(wire.LogEntry{}, ctx.Err())
				return
			}
		}
	}
}
