package accesslog

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

const (
	// queueLength is how many entries may wait to be written.
	queueLength = 4096
	// flushTime bounds the wait for them at the end.
	flushTime = time.Second
	// sayInterval is how often it is said that entries were dropped, at most.
	sayInterval = 10 * time.Second
)

// Options is what a Log needs.
type Options struct {
	// Config gives the present configuration.
	Config func() *config.Config
	// Journal writes an entry to the journal (systemd.journal-fields(7)); nil where there
	// is none.
	Journal func(message string, fields map[string]string) error
	// Lines writes a line of JSON.
	Lines func(line []byte) error
	Log   *slog.Logger
}

// Log is an access log. Make one with New; it writes while Run runs.
type Log struct {
	config  func() *config.Config
	journal func(string, map[string]string) error
	lines   func([]byte) error
	log     *slog.Logger

	queue   chan tenant.Access
	dropped atomic.Int64
	failed  atomic.Int64 // could not be written
}

// New makes a Log.
func New(o Options) *Log {
	return &Log{config: o.Config, journal: o.Journal, lines: o.Lines, log: o.Log, queue: make(chan tenant.Access, queueLength)}
}

// Wants reports whether a service has an access log, and whether that has queries.
func (l *Log) Wants(service string) (query, ok bool) {
	s := l.config().Services[service]
	if s == nil || s.AccessLog == config.AccessLogOff {
		return false, false
	}
	return s.AccessLogQuery, true
}

// Add queues an entry. It never waits.
func (l *Log) Add(a tenant.Access) {
	select {
	case l.queue <- a:
	default:
		l.dropped.Add(1)
	}
}

// Run writes entries until ctx ends, and then those that wait, for a while: a reader that
// takes nothing any more does not keep it.
func (l *Log) Run(ctx context.Context) error {
	written := make(chan struct{})
	ending := make(chan struct{})
	go func() {
		defer close(written)
		l.writeAll(ending)
	}()
	say := time.NewTicker(sayInterval)
	defer say.Stop()
	for {
		select {
		case <-say.C:
			l.say()
		case <-ctx.Done():
			close(ending)
			late := time.NewTimer(flushTime)
			defer late.Stop()
			select {
			case <-written:
			case <-late.C:
				l.dropped.Add(int64(len(l.queue)))
			}
			l.say()
			return nil
		}
	}
}

// writeAll writes entries, from ending on only those that wait.
func (l *Log) writeAll(ending <-chan struct{}) {
	for {
		select {
		case a := <-l.queue:
			l.write(a)
			continue
		case <-ending:
		}
		select {
		case a := <-l.queue:
			l.write(a)
		default:
			return
		}
	}
}

// say tells what is missing in the log.
func (l *Log) say() {
	if n := l.dropped.Swap(0); n > 0 {
		l.log.Warn("access log entries dropped: they came faster than they could be written", "count", n)
	}
	if n := l.failed.Swap(0); n > 0 {
		l.log.Warn("access log entries not written", "count", n)
	}
}

func (l *Log) write(a tenant.Access) {
	mode := config.AccessLogAuto
	if s := l.config().Services[a.ID.Service]; s != nil {
		mode = s.AccessLog
	}
	bound(&a)
	var err error
	if l.journal != nil && mode != config.AccessLogJSON {
		err = l.journal(message(a), fields(a))
	} else {
		err = l.lines(line(a))
	}
	if err != nil {
		l.failed.Add(1)
		l.log.Debug("access log entry not written", "err", err)
	}
}
