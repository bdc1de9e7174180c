package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

const (
	// maxLogs is how many logs may be sent at a time: each has a journalctl.
	maxLogs = 64
	// maxTenantLogs is how many of them tenants may read, so that some are left for admins.
	maxTenantLogs = 48
	// streamWait is how long a request waits for its turn.
	streamWait = 5 * time.Second
	// heartbeat is how often a stream in which nothing happens sends something, by which
	// those in between see that it is in use, and we that the client has gone.
	heartbeat = 15 * time.Second
)

// wantsEvents reports whether a client wants server-sent events.
func wantsEvents(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// enter waits for a place among the logs that are read; leave gives it back.
func (a *API) enter(ctx context.Context) (leave func(), err error) {
	bounded, cancel := context.WithTimeout(ctx, streamWait)
	defer cancel()
	if principalOf(ctx).admin {
		return take(bounded, a.logPlaces)
	}
	leaveTenants, err := take(bounded, a.tenantPlaces)
	if err != nil {
		return nil, err
	}
	leaveAll, err := take(bounded, a.logPlaces)
	if err != nil {
		leaveTenants()
		return nil, err
	}
	return func() { leaveAll(); leaveTenants() }, nil
}

// take waits for room in places.
func take(ctx context.Context, places chan struct{}) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) { // it has not waited for too long
			return nil, &tenant.Error{
				Code: tenant.CodeUnavailable, Op: "read log", RetryAfter: time.Second, Err: ctx.Err(),
				Msg:  "the daemon is stopping",
				Hint: "try again when it is back",
			}
		}
		return nil, &tenant.Error{
			Code: tenant.CodeUnavailable, Op: "read log", RetryAfter: streamWait, Err: ctx.Err(),
			Msg:  "too many logs are being read at the moment",
			Hint: "end some of those who follow one, or try again later",
		}
	}
}

// streamLog answers with an entry per line of JSON, or per server-sent event. Until the
// first byte is sent an error is an answer of its own; afterwards it is the last line.
func (a *API) streamLog(w http.ResponseWriter, r *http.Request, q LogQuery) error {
	ctx, done, err := a.openStream(r)
	if err != nil {
		return err
	}
	defer done()
	defer endWrites(ctx, w)()
	leave, err := a.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	out := &stream{w: w, flush: http.NewResponseController(w).Flush, events: wantsEvents(r)}
	w.Header().Set("Content-Type", "application/x-ndjson")
	if out.events {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	w.Header().Set("Cache-Control", "no-store")
	if q.Follow {
		if err := out.send(nil); err != nil { // the client shall not wait for the first entry
			return nil
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer out.keepAlive(ctx, cancel)()
	}
	sent := q.Follow
	for entry, err := range a.logs.Read(ctx, q) {
		if ctx.Err() != nil {
			return nil // nobody listens any more, or nobody shall
		}
		if err != nil && !sent {
			return err
		}
		line := wire.LogLine{LogEntry: &entry}
		if err != nil {
			status, public, _ := describe(err)
			a.logFailure(r, status, err)
			line = wire.LogLine{Error: &public}
		}
		sent = true
		if err := out.line(line, q.Follow); err != nil {
			return nil // the client has gone
		}
	}
	return nil
}

// stream writes to one client.
type stream struct {
	events bool
	flush  func() error

	mu   sync.Mutex // guards w and idle
	w    http.ResponseWriter
	idle bool // nothing was sent since the last heartbeat
}

// line sends a line, at once if it is followed.
func (s *stream) line(l wire.LogLine, now bool) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if s.events {
		var event bytes.Buffer
		switch {
		case l.Error != nil:
			event.WriteString("event: error\n")
		case l.Cursor != "":
			event.WriteString("id: " + l.Cursor + "\n")
		}
		event.WriteString("data: ")
		event.Write(text)
		event.WriteString("\n")
		text = event.Bytes()
	}
	if now {
		return s.send(text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err = s.w.Write(text)
	return err
}

// send writes text and has it sent.
func (s *stream) send(text []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = false
	if len(text) > 0 {
		if _, err := s.w.Write(text); err != nil {
			return err
		}
	}
	return s.flush()
}

// keepAlive sends what means nothing where nothing else is sent, and calls gone when that
// fails. The function that it returns ends it.
func (s *stream) keepAlive(ctx context.Context, gone func()) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() {
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		nothing := []byte("\n") // between values of JSON it is nothing
		if s.events {
			nothing = []byte(":\n\n")
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			s.mu.Lock()
			idle := s.idle
			s.idle = true
			s.mu.Unlock()
			if idle && s.send(nothing) != nil {
				gone()
				return
			}
		}
	})
	return func() {
		cancel()
		work.Wait()
	}
}
