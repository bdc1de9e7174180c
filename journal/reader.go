package journal

import (
	"context"
	"errors"
	"iter"
	"os"
	"slices"
	"time"

	"tenement.dev/internal/tenant"
)

const (
	// maxFailures is how often in a row journalctl may end without having given an
	// entry before a Read gives up, some three seconds after the first time.
	maxFailures = 6
	// firstBackoff is the wait before the second run; it doubles from run to run.
	firstBackoff = 100 * time.Millisecond
	// accessPoll is how often a follower looks whether there is a journal yet.
	accessPoll = 250 * time.Millisecond
	// longRun is how long a run must last to count as a good one without an entry.
	longRun = 30 * time.Second
	// maxKept bounds the memory for entries that are read backwards, in bytes;
	// entrySize is what one needs beside its message.
	maxKept   = 1 << 20
	entrySize = 256
)

// Reader reads the journal of one manager's units. It holds nothing open.
type Reader struct {
	scope   Scope
	uid     int
	dir     string
	command string
	backoff time.Duration
}

// New gives a reader of the units of scope. It starts nothing.
func New(scope Scope) *Reader {
	return &Reader{scope: scope, uid: os.Getuid(), command: "journalctl", backoff: firstBackoff}
}

// In gives a reader of the journal files in a directory, instead of this machine's own.
func (r *Reader) In(dir string) *Reader {
	other := *r
	other.dir = dir
	return &other
}

// Read gives the entries that q asks for, oldest first. An error comes at the end, with
// an empty entry: the context's own if that ended, a *tenant.Error with CodeInvalid for
// a query that makes no sense, one with CodeUnsupported where this machine or this
// user's rights do not allow to read.
//
// The consumer sets the pace. A consumer that takes its time between two entries may
// miss some that journald has thrown away meanwhile, and nothing else.
func (r *Reader) Read(ctx context.Context, q Query) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		err := r.read(ctx, q, func(e Entry) bool { return yield(e, nil) })
		if err != nil && !errors.Is(err, errStopped) {
			yield(Entry{}, err)
		}
	}
}

// errStopped says that the consumer wants no more.
var errStopped = errors.New("stopped by the consumer")

// read is Read with a plain result. yield is not called after it returned false.
func (r *Reader) read(ctx context.Context, q Query, yield func(Entry) bool) error {
	now := time.Now()
	if err := q.check(); err != nil {
		return err
	}
	if q.Lines == 0 && !q.Follow {
		return nil
	}
	if ready, err := r.wait(ctx, q); !ready {
		return err
	}
	wanted, sieve := q.filter(), q.sieve()
	from := start{after: q.AfterCursor, since: q.Since}
	switch {
	case q.AfterCursor != "" || q.Lines < 0:
	case q.Lines == 0: // with Follow; not --lines=0, which misses what comes until journalctl is up
		from.since = now
	default:
		var err error
		if from, q.Lines, err = r.newest(ctx, q, wanted, sieve, now, yield); q.Lines == 0 && !q.Follow || err != nil {
			return err
		}
	}
	given := 0
	take := func(e Entry) bool {
		from = start{after: e.Cursor}
		if !wanted(e) {
			return true
		}
		given++
		return yield(e) && (q.Follow || given != q.Lines)
	}
	return r.persist(ctx, func() (progress bool, err error) {
		before := from
		if err = r.run(ctx, r.arguments(q, from, sieve), q, take); err != nil {
			sieve = "" // it may be one that cannot do that
		}
		return from != before, err
	}, q.Follow)
}

// wait looks whether there is a journal to read, and waits for it with q.Follow.
func (r *Reader) wait(ctx context.Context, q Query) (ready bool, err error) {
	if r.dir != "" {
		return true, nil
	}
	for {
		ready, err := r.access()
		if ready || err != nil || !q.Follow {
			return ready, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(accessPoll):
		}
	}
}

// newest gives the newest q.Lines entries, in one reading from the end backwards where
// they are small enough to be kept until the oldest is known. What is left to be read
// forwards begins at from and is so many entries that fit, or with q.Follow has no end.
func (r *Reader) newest(ctx context.Context, q Query, wanted func(Entry) bool, sieve string, now time.Time, yield func(Entry) bool) (from start, left int, err error) {
	var kept []Entry // newest first
	var size, found int
	var newest, oldest string
	err = r.persist(ctx, func() (bool, error) {
		kept, size, found, newest, oldest = nil, 0, 0, "", ""
		err := r.run(ctx, r.newestArguments(q, sieve), q, func(e Entry) bool {
			switch {
			case q.BeforeCursor != "" && (e.Cursor == q.BeforeCursor || !q.Until.IsZero() && e.Time.After(q.Until)):
				return true
			case q.BeforeCursor != "" && e.Time.Before(q.Since):
				return false
			}
			if newest == "" {
				newest = e.Cursor
			}
			if !wanted(e) {
				return true
			}
			oldest = e.Cursor
			found++
			if size += len(e.Message) + entrySize; size <= maxKept {
				kept = append(kept, e)
			} else {
				kept = nil
			}
			return found < q.Lines
		})
		sieve = "" // should it have failed: it may be one that cannot do that
		return false, err
	}, false)
	switch {
	case err != nil && !errors.Is(err, errStopped):
		return start{}, 0, err
	case newest == "" && q.Follow && q.Since.IsZero():
		return start{since: now}, 0, nil
	case newest == "":
		return start{since: q.Since}, 0, nil
	case size > maxKept:
		return start{from: oldest}, found, nil
	}
	for _, e := range slices.Backward(kept) {
		if !yield(e) {
			return start{}, 0, errStopped
		}
	}
	return start{after: newest}, 0, nil
}

// persist calls run until it is done: without follow until it succeeds, with follow
// until ctx ends. After a failure it tries again, later each time, and gives up after
// maxFailures without progress.
func (r *Reader) persist(ctx context.Context, run func() (progress bool, err error), follow bool) error {
	backoff := r.backoff
	for failures := 0; ; {
		began := time.Now()
		progress, err := run()
		var known *tenant.Error
		switch {
		case errors.Is(err, errStopped):
			return errStopped
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && !follow:
			return nil
		case errors.As(err, &known) && known.Code == tenant.CodeUnsupported:
			return err
		}
		if progress || time.Since(began) >= longRun {
			failures, backoff = 0, r.backoff
		}
		if failures++; failures == maxFailures {
			if err == nil {
				err = errEnded
			}
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(backoff):
		}
		backoff *= 2
	}
}
