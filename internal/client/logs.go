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
	// Since is the time of the oldest entry, zero for no bound.
	Since time.Time
	// Follow waits for new entries until the context ends.
	Follow bool
}

// Logs gives an instance's log, oldest entry first. An error comes at the end, with an
// empty entry; the end of the context is one.
func (c *Client) Logs(ctx context.Context, id tenant.ID, o LogOptions) iter.Seq2[wire.LogEntry, error] {
	query := url.Values{"lines": {strconv.Itoa(o.Lines)}}
	if !o.Since.IsZero() {
		query.Set("since", o.Since.Format(time.RFC3339Nano))
	}
	if o.Follow {
		query.Set("follow", "true")
	}
	path := instancePath(id) + "/logs?" + query.Encode()
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
			case errors.Is(err, io.EOF) && !o.Follow:
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
