package journal

import (
	"context"
	"errors"
	"iter"
	"os"
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
)

// Reader reads the journal of one manager's units. It holds nothing open.
type Reader struct {
	scope   Scope
	uid     int
	command string
	backoff time.Duration
}

// New gives a reader of the units of scope. It starts nothing.
func New(scope Scope) *Reader {
	return &Reader{scope: scope, uid: os.Getuid(), command: "journalctl", backoff: firstBackoff}
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
	from, err := r.begin(ctx, q, now)
	if err != nil || from == (start{}) && q.Lines > 0 {
		return err
	}
	given := 0
	take := func(e Entry) bool {
		from = start{after: e.Cursor}
		given++
		return yield(e) && (q.Follow || given != q.Lines)
	}
	return r.persist(ctx, func() (progress bool, err error) {
		before := given
		err = r.run(ctx, r.arguments(q, from), q, take)
		return given > before, err
	}, q.Follow)
}

// wait looks whether there is a journal to read, and waits for it with q.Follow.
func (r *Reader) wait(ctx context.Context, q Query) (ready bool, err error) {
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

// begin finds where the first run starts. The zero start means from the beginning, or
// with a positive q.Lines that there is nothing.
func (r *Reader) begin(ctx context.Context, q Query, now time.Time) (from start, err error) {
	switch {
	case q.AfterCursor != "":
		return start{after: q.AfterCursor}, nil
	case q.Lines == 0: // with Follow; not --lines=0, which misses what comes until journalctl is up
		return start{since: now}, nil
	case q.Lines < 0:
		return start{since: q.Since}, nil
	}
	oldest, seen := "", 0
	err = r.persist(ctx, func() (bool, error) {
		seen = 0
		err := r.run(ctx, r.newestArguments(q), q, func(e Entry) bool {
			oldest = e.Cursor
			seen++
			return seen < q.Lines
		})
		return false, err
	}, false)
	switch {
	case err != nil && !errors.Is(err, errStopped):
		return start{}, err
	case oldest == "" && q.Follow && q.Since.IsZero():
		return start{since: now}, nil
	case oldest == "" && q.Follow:
		return start{since: q.Since}, nil
	}
	return start{from: oldest}, nil
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
