package api

import (
	"context"
	"slices"
	"strings"
	"time"
)

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

// lastLines gives the last lines that a unit printed in the run that began at since:
// the app's own, or if it said nothing systemd's. Where nothing was printed in that run
// and earlier is set it gives those of the run before.
func (a *API) lastLines(ctx context.Context, unit string, since time.Time, earlier bool) []string {
	leave, ok := a.enterSoon(ctx)
	if !ok {
		return nil
	}
	defer leave()
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

// enterSoon is enter for lines that are an addition to an answer: it waits for tailFirst
// at most.
func (a *API) enterSoon(ctx context.Context) (leave func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, tailFirst)
	defer cancel()
	leave, err := a.enter(ctx)
	return leave, err == nil
}

// lastWords gives the last lines of a unit that runs, or that ended some time ago. What
// it says over and over, such as the log line of each health check, is in it a few times
// only: of lines that differ in nothing but numbers the last maxAlike.
func (a *API) lastWords(ctx context.Context, unit string) []string {
	leave, ok := a.enterSoon(ctx)
	if !ok {
		return nil
	}
	defer leave()
	var own, manager tail
	for entry, err := range a.logs.Read(ctx, LogQuery{Unit: unit, Lines: 25 * tailLines}) {
		switch {
		case err != nil && ctx.Err() == nil:
			a.log.Warn("last lines not read", "unit", unit, "err", err)
		case err != nil:
		case entry.Manager:
			manager.addAll(entry.Message)
		default:
			own.addAll(entry.Message)
		}
	}
	if len(own) == 0 {
		own = manager
	}
	return own.sparing()
}

// maxAlike is how many lines of one form lastWords has.
const maxAlike = 3

// sparing leaves out what is said over and over, and gives the last tailLines of the rest.
func (t tail) sparing() []string {
	seen := map[string]int{}
	var kept tail
	for _, line := range slices.Backward(t) {
		form := formOf(line)
		if seen[form]++; seen[form] <= maxAlike && len(kept) < tailLines {
			kept = append(kept, line)
		}
	}
	slices.Reverse(kept)
	return kept
}

// formOf is a line without its numbers, in hexadecimal digits too, such as times and ids.
func formOf(line string) string {
	return strings.Join(strings.FieldsFunc(line, func(r rune) bool {
		return '0' <= r && r <= '9' || 'a' <= r && r <= 'f' || 'A' <= r && r <= 'F'
	}), "0")
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
	t.addAll(message)
	*t = (*t)[max(0, len(*t)-tailLines):]
}

// addAll is add without the bound on their number; each has its own.
func (t *tail) addAll(message string) {
	for line := range strings.SplitSeq(message, "\n") {
		if len(line) > tailWidth {
			line = strings.ToValidUTF8(line[:tailWidth], "") + "…"
		}
		*t = append(*t, line)
	}
}
