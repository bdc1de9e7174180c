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

// What a failed start had to say is waited for: journald may be about to receive it.
const (
	// tailLines is how many lines the error of a failed start has at most.
	tailLines = 20
	// tailFirst bounds the wait for the first entry.
	tailFirst = time.Second
	// tailQuiet is how long no entry has come when there are no more. journald tells
	// followers of new entries after up to 250 ms.
	tailQuiet = 300 * time.Millisecond
	// tailMax bounds the wait as a whole.
	tailMax = 2 * time.Second
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
	ctx, cancel := context.WithTimeout(ctx, 2*tailMax)
	defer cancel()
	lines := a.awaitLines(ctx, LogQuery{Unit: unit, Lines: 5 * tailLines, Since: since, Follow: true})
	if len(lines) == 0 && earlier {
		lines = a.collect(ctx, LogQuery{Unit: unit, Lines: 5 * tailLines}, func() {})
	}
	return lines
}

// awaitLines follows a log until nothing more comes.
func (a *API) awaitLines(ctx context.Context, q LogQuery) []string {
	ctx, cancel := context.WithTimeout(ctx, tailMax)
	defer cancel()
	quiet := time.AfterFunc(tailFirst, cancel)
	defer quiet.Stop()
	return a.collect(ctx, q, func() { quiet.Reset(tailQuiet) })
}

// collect reads what q asks for until ctx ends and keeps the end of it.
func (a *API) collect(ctx context.Context, q LogQuery, came func()) []string {
	var own, manager tail
	for entry, err := range a.logs.Read(ctx, q) {
		if err != nil {
			if ctx.Err() == nil {
				a.log.Warn("last lines not read", "unit", q.Unit, "err", err)
			}
			break
		}
		came()
		if entry.Manager {
			manager.add(entry.Message)
		} else {
			own.add(entry.Message)
		}
	}
	if len(own) > 0 {
		return own
	}
	return manager
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
