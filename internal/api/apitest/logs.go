package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"tenement.dev/internal/api"
	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
	"tenement.dev/units"
)

// Logs keeps entries in memory and tells followers of new ones.
type Logs struct {
	mu        sync.Mutex
	entries   map[string][]wire.LogEntry
	late      map[string]string // what each unit prints once its log has been read
	history   []wire.LogEntry
	changed   chan struct{} // closed with each change
	followers int
	err       error
}

func newLogs() *Logs {
	return &Logs{entries: map[string][]wire.LogEntry{}, late: map[string]string{}, changed: make(chan struct{})}
}

// Add has a unit print a line now; manager says that systemd did.
func (l *Logs) Add(unit, message string, manager bool) { l.AddAt(time.Now(), unit, message, manager) }

// AddLate has a unit print a line when its log has been read once more.
func (l *Logs) AddLate(unit, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late[unit] = message
}

// AddAt is Add at another time.
func (l *Logs) AddAt(at time.Time, unit, message string, manager bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addLocked(at, unit, message, manager)
}

func (l *Logs) addLocked(at time.Time, unit, message string, manager bool) {
	priority := 6
	if text, ok := strings.CutPrefix(message, "<3>"); ok { // as systemd does, sd-daemon(3)
		message, priority = text, 3
	}
	list := l.entries[unit]
	l.entries[unit] = append(list, wire.LogEntry{
		Time: at, Message: message, Priority: priority, PID: 42, Identifier: "app", Manager: manager,
		Cursor: fmt.Sprintf("s=%x;i=%04x", 7, len(list)),
	})
	l.changeLocked()
}

// Tell has something have happened to an instance, as Tenement's own history has it.
func (l *Logs) Tell(id tenant.ID, kind, message string) {
	text, err := json.Marshal(event.Event{ID: event.ID{Run: 1, N: 1}, Time: time.Now(), Kind: event.Kind(kind), Instance: id})
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history = append(l.history, wire.LogEntry{
		ID: id, Time: time.Now(), Message: message, Priority: 6, Identifier: "tenement", Event: text,
		Cursor: fmt.Sprintf("s=%x;i=%04x", 8, len(l.history)),
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

// entriesOfLocked gives what q may be about, in the order of time.
func (l *Logs) entriesOfLocked(q api.LogQuery) (list []wire.LogEntry) {
	if q.Events {
		for _, e := range l.history {
			if q.Tenant != "" && e.ID.Name != q.Tenant {
				continue
			}
			if q.Instance.IsZero() && q.Service == "" || e.ID == q.Instance || e.ID.Service == q.Service {
				e.ID = tenant.ID{} // it is in the message
				list = append(list, e)
			}
		}
		return list
	}
	if q.Unit != "" {
		return l.entries[q.Unit]
	}
	for unit, entries := range l.entries {
		if id, ok := units.ParseName(unit); ok && (q.Service == "" || q.Service == id.Service) &&
			(q.Units == nil || slices.Contains(q.Units, unit)) {
			for _, e := range entries {
				e.ID = id
				list = append(list, e)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b wire.LogEntry) int { return a.Time.Compare(b.Time) })
	return list
}

func fits(q api.LogQuery, e wire.LogEntry) bool {
	return !e.Time.Before(q.Since) && (q.Until.IsZero() || !e.Time.After(q.Until)) && q.Level.Has(e.Priority) &&
		strings.Contains(strings.ToLower(e.Message), strings.ToLower(q.Search)) && (q.Grep == nil || q.Grep.MatchString(e.Message)) &&
		(q.Before == "" || e.Cursor < q.Before)
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
			list, changed, err := l.entriesOfLocked(q), l.changed, l.err
			if message, ok := l.late[q.Unit]; ok {
				delete(l.late, q.Unit)
				l.addLocked(time.Now(), q.Unit, message, false)
			}
			l.mu.Unlock()
			var fit []wire.LogEntry
			for _, e := range list[given:] {
				if fits(q, e) {
					fit = append(fit, e)
				}
			}
			given = len(list)
			switch after := slices.IndexFunc(fit, func(e wire.LogEntry) bool { return e.Cursor == q.After }); {
			case first && after >= 0 && q.Lines >= 0 && !q.Follow:
				fit = fit[after+1 : min(len(fit), after+1+q.Lines)]
			case first && after >= 0:
				fit = fit[after+1:]
			case first && q.Lines >= 0:
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
