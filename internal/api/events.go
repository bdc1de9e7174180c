package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

const (
	// eventPatience bounds a write to a follower of events: a slower one is cut off, and
	// can resume.
	eventPatience = 10 * time.Second
	// retryMS is for how long a follower waits before it comes back, in milliseconds.
	retryMS = 1000
)

// wanted says which events a follower wants and may see.
type wanted struct {
	by       *principal
	instance tenant.ID
	kinds    []string // nil for all
}

func (f wanted) wants(e event.Event) bool {
	return (f.by.admin || !e.Instance.IsZero() && f.by.owns(e.Instance)) &&
		(f.instance.IsZero() || e.Instance == f.instance) &&
		(f.kinds == nil || slices.Contains(f.kinds, string(e.Kind)))
}

// show is an event as the follower may see it: who else works on its instances is
// nobody's business but an admin's, and neither is whose requests they have got.
func (f wanted) show(e event.Event) event.Event {
	if f.by.admin {
		return e
	}
	if e.Actor != f.by.actor {
		e.Actor = ""
	}
	if e.Kind == event.Routed {
		e.Fields = slices.DeleteFunc(slices.Clone(e.Fields), func(a slog.Attr) bool { return a.Key == "from" })
	}
	return e
}

// followEvents streams events as they come (HTML Living Standard, section 9.2,
// server-sent events): those after the one that the client names, or from now on.
func (a *API) followEvents(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := wanted{by: who(r)}
	var after event.ID
	var err error
	if text := choose(r.Header.Get("Last-Event-ID") != "", r.Header.Get("Last-Event-ID"), q.Get("after")); text != "" {
		if after, err = event.ParseID(text); err != nil {
			return err
		}
	}
	if q.Has("instance") {
		if f.instance, err = tenant.ParseID(q.Get("instance")); err != nil {
			return err
		}
		if !f.by.owns(f.instance) {
			return forbidden(f.instance.String()+" is not an instance of "+f.by.tenant, "leave the instance out to see your own")
		}
	}
	if q.Has("kind") {
		f.kinds = strings.Split(q.Get("kind"), ",")
	}
	ctx, done, err := a.openStream(r)
	if err != nil {
		return err
	}
	defer done()
	a.streamEvents(ctx, w, f, after)
	return nil
}

// streamEvents writes events until ctx ends or the client is gone or too slow.
func (a *API) streamEvents(ctx context.Context, w http.ResponseWriter, f wanted, after event.ID) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := make(chan string)
	followed := a.events.Follow(ctx, after) // from here on, before the client hears that it follows
	var reading sync.WaitGroup
	reading.Go(func() {
		for e, err := range followed {
			text, ok := f.line(e, err)
			if !ok {
				continue
			}
			select {
			case lines <- text:
			case <-ctx.Done():
				return
			}
		}
	})
	defer reading.Wait()
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	control := http.NewResponseController(w)
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
	send := func(text string) bool {
		_ = control.SetWriteDeadline(time.Now().Add(eventPatience))
		_, err := w.Write([]byte(text))
		return err == nil && control.Flush() == nil
	}
	if !send(fmt.Sprintf("retry: %d\n\n", retryMS)) {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case text := <-lines:
			if !send(text) {
				return
			}
		case <-beat.C:
			if !send(":\n\n") {
				return
			}
		}
	}
}

// line is an event, or what was missed, as the stream has it; not ok where it is not
// for this follower.
func (f wanted) line(e event.Event, err error) (text string, ok bool) {
	var gap *event.Gap
	switch {
	case errors.As(err, &gap):
		return fmt.Sprintf("event: gap\ndata: {\"missed\":%d}\n\n", gap.Missed), true
	case err != nil || !f.wants(e):
		return "", false
	}
	data, err := json.Marshal(f.show(e))
	if err != nil {
		return "", false
	}
	return fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Kind, data), true
}
