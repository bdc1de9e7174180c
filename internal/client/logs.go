package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// LogOptions says which entries of a log to read.
type LogOptions struct {
	// Lines is how many stored entries to give at most, the newest; -1 is all.
	Lines int
	// Since and Until bound the entries' time, both inclusive; zero is no bound.
	Since, Until time.Time
	// Level leaves out less urgent entries.
	Level tenant.Level
	// Search is a text in the message, whatever the case of its letters; Grep is a regular
	// expression of Go's that it matches. Empty is everything.
	Search, Grep string
	// After and Before are the cursors of entries: only what is newer, or older, counts.
	After, Before string
	// Follow waits for new entries until the context ends.
	Follow bool
}

// query is o as the API has it.
func (o LogOptions) query() url.Values {
	query := url.Values{"lines": {strconv.Itoa(o.Lines)}}
	for name, at := range map[string]time.Time{"since": o.Since, "until": o.Until} {
		if !at.IsZero() {
			query.Set(name, at.Format(time.RFC3339Nano))
		}
	}
	for name, text := range map[string]string{
		"level": o.Level.String(), "search": o.Search, "grep": o.Grep, "after": o.After, "before": o.Before,
	} {
		if text != "" {
			query.Set(name, text)
		}
	}
	if o.Follow {
		query.Set("follow", "true")
	}
	return query
}

// Logs gives an instance's log, oldest entry first. An error comes at the end, with an
// empty entry; the end of the context is one.
func (c *Client) Logs(ctx context.Context, id tenant.ID, o LogOptions) iter.Seq2[wire.LogEntry, error] {
	return c.logs(ctx, instancePath(id)+"/logs?"+o.query().Encode(), o.Follow)
}

// AllLogs is Logs of all instances of a service, or of all services where it is empty.
func (c *Client) AllLogs(ctx context.Context, service string, o LogOptions) iter.Seq2[wire.LogEntry, error] {
	query := o.query()
	if service != "" {
		query.Set("service", service)
	}
	return c.logs(ctx, "/logs?"+query.Encode(), o.Follow)
}

// History gives the events of the past: of an instance, of a service where only that
// has a name, or all.
func (c *Client) History(ctx context.Context, whom tenant.ID, o LogOptions) iter.Seq2[wire.LogEntry, error] {
	query := o.query()
	switch {
	case whom.Name != "":
		query.Set("instance", whom.String())
	case whom.Service != "":
		query.Set("service", whom.Service)
	}
	return c.logs(ctx, "/history?"+query.Encode(), o.Follow)
}

func (c *Client) logs(ctx context.Context, path string, follow bool) iter.Seq2[wire.LogEntry, error] {
	return func(yield func(wire.LogEntry, error) bool) {
		resp, err := c.send(ctx, http.MethodGet, path, nil)
		if err != nil {
			yield(wire.LogEntry{}, err)
			return
		}
		defer resp.Body.Close()
		decoder := json.NewDecoder(resp.Body)
		for {
			var line wire.LogLine
			err := decoder.Decode(&line)
			switch {
			case errors.Is(err, io.EOF) && !follow:
				return
			case errors.Is(err, io.EOF):
				err = c.explain(ctx, io.ErrUnexpectedEOF)
			case err != nil:
				err = c.explain(ctx, err)
			case line.Error != nil:
				err = failure(*line.Error)
			case line.LogEntry == nil:
				err = c.stranger(errors.New("log line without entry"))
			}
			if err != nil {
				yield(wire.LogEntry{}, err)
				return
			}
			if !yield(*line.LogEntry, nil) {
				return
			}
		}
	}
}
