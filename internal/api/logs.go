package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tenement.dev/internal/wire"
)

// defaultLines is how many stored entries a log has where nobody says.
const defaultLines = 100

// What a failed start had to say is waited for: journald may be about to receive it. The
// log is read again until nothing is added. It is not followed, because journald tells
// followers of new entries up to 250 ms late, in which a chatty app says a lot.
const (
	// tailLines is how many lines the error of a failed start has at most.
	tailLines = 20
	// tailPoll is the time between two readings.
	tailPoll = 100 * time.Millisecond
	// tailFirst bounds the wait for the first entry, tailMax the wait as a whole.
	tailFirst = time.Second
	tailMax   = 2 * time.Second
	// tailWidth bounds a line, in bytes.
	tailWidth = 1000
)

func (a *API) getLogs(w http.ResponseWriter, r *http.Request) error {
	s, err := a.named(r)
	if err != nil {
		return err
	}
	q, err := logQuery(r.URL.Query())
	if err != nil {
		return err
	}
	q.Unit = s.Unit
	return a.streamLog(w, r, q)
}

func logQuery(values url.Values) (q LogQuery, err error) {
	q.Lines = defaultLines
	if text := values.Get("lines"); values.Has("lines") {
		if q.Lines, err = strconv.Atoi(text); err != nil || q.Lines < -1 {
			return q, invalid("lines="+quote(text)+" is not a number of lines", "use 0 or more, or -1 for all", err)
		}
	}
	if text := values.Get("since"); values.Has("since") {
		if q.Since, err = time.Parse(time.RFC3339, text); err != nil {
			return q, invalid("since="+quote(text)+" is not a time", "write it as in RFC 3339: 2006-01-02T15:04:05Z", err)
		}
	}
	if text := values.Get("follow"); values.Has("follow") {
		if q.Follow, err = strconv.ParseBool(text); err != nil {
			return q, invalid("follow="+quote(text)+" is neither true nor false", "use follow=true", err)
		}
	}
	return q, nil
}

// streamLog answers with a line of JSON per entry. Until the first byte is sent an error
// is an answer of its own; afterwards it is the last line.
func (a *API) streamLog(w http.ResponseWriter, r *http.Request, q LogQuery) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(a.streaming, cancel)()
	w.Header().Set("Content-Type", "application/x-ndjson")
	flush := http.NewResponseController(w).Flush
	if q.Follow {
		if err := flush(); err != nil { // the client shall not wait for the first entry
			return nil
		}
	}
	encoder := json.NewEncoder(w)
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
		if err := encoder.Encode(line); err != nil {
			return nil // the client has gone
		}
		if q.Follow {
			if err := flush(); err != nil {
				return nil
			}
		}
	}
	return nil
}

// lastLines gives the last lines that a unit printed in the run that began at since:
// the app's own, or if it said nothing systemd's. Where nothing was printed in that run
// and earlier is set it gives those of the run before.
func (a *API) lastLines(ctx context.Context, unit string, since time.Time, earlier bool) []string {
	q := LogQuery{Unit: unit, Lines: 5 * tailLines, Since: since}
	begun := time.Now()
	lines, newest, err := a.collect(ctx, q)
	for err == nil && time.Since(begun) < tailMax {
		select {
		case <-ctx.Done():
			return nil // nobody is left to be told
		case <-time.After(tailPoll):
		}
		before := newest
		lines, newest, err = a.collect(ctx, q)
		if newest == before && (newest != "" || time.Since(begun) >= tailFirst) {
			break
		}
	}
	if err == nil && newest == "" && earlier {
		q.Since = time.Time{}
		lines, _, err = a.collect(ctx, q)
	}
	if err != nil && ctx.Err() == nil {
		a.log.Warn("last lines not read", "unit", unit, "err", err)
	}
	return lines
}

// lastWords gives the last lines of a unit that failed some time ago.
func (a *API) lastWords(ctx context.Context, unit string) []string {
	lines, _, err := a.collect(ctx, LogQuery{Unit: unit, Lines: 5 * tailLines})
	if err != nil && ctx.Err() == nil {
		a.log.Warn("last lines not read", "unit", unit, "err", err)
	}
	return lines
}

// collect reads the end of what q asks for, and the newest entry's cursor. The lines are
// the app's own, or if it said nothing systemd's.
func (a *API) collect(ctx context.Context, q LogQuery) (lines []string, newest string, err error) {
	var own, manager tail
	for entry, err := range a.logs.Read(ctx, q) {
		if err != nil {
			return nil, "", err
		}
		newest = entry.Cursor
		if entry.Manager {
			manager.add(entry.Message)
		} else {
			own.add(entry.Message)
		}
	}
	if len(own) > 0 {
		return own, newest, nil
	}
	return manager, newest, nil
}

// tail is the last tailLines lines.
type tail []string

func (t *tail) add(message string) {
	for line := range strings.SplitSeq(message, "\n") {
		if len(line) > tailWidth {
			line = strings.ToValidUTF8(line[:tailWidth], "") + "…"
		}
		*t = append(*t, line)
	}
	*t = (*t)[max(0, len(*t)-tailLines):]
}
