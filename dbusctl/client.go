package dbusctl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"tenement.dev/units"
)

// Scope says which manager is meant.
type Scope int

// The managers.
const (
	System Scope = iota // the system's, PID 1
	User                // that of the calling user
)

// String is "system" or "user".
func (s Scope) String() string {
	if s == User {
		return "user"
	}
	return "system"
}

// Options are what a Client needs to know.
type Options struct {
	Scope Scope
	// Prefix begins the names of the units whose events matter, such as "tenement-";
	// empty means all units.
	Prefix string
	// Log gets losses of the connection; nil discards them.
	Log *slog.Logger
}

const (
	// maxCalls bounds the calls in flight. dbus-daemon answers no more than 128 of one
	// connection at a time (dbus-daemon(1), max_replies_per_connection).
	maxCalls = 96
	// openTimeout bounds one attempt to connect. PID 1 answers nobody while it reloads
	// thousands of units.
	openTimeout = time.Minute
	// firstPause and longestPause bound the pause between two attempts.
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
	// busGrace is for how long only the bus is tried after it was lost: it is back soon
	// after a restart, and it spares us the signals of all other units.
	busGrace = 3 * time.Second
)

// Client talks to one manager. Its methods may be called from several goroutines.
type Client struct {
	o      Options
	log    *slog.Logger
	events *events
	calls  chan struct{} // one element per call in flight

	ctx    context.Context // the client's life: ends with Run or Close
	cancel context.CancelFunc

	mu      sync.Mutex    // guards what follows; a link's mu may be locked under it
	cur     *link         // nil while disconnected
	changed chan struct{} // closed and replaced when cur changes
	running bool
}

// Dial connects, with one attempt at each place where the manager may be. ctx bounds
// the attempt only. The error is a *tenant.Error for people; where no systemd runs at
// all its code is tenant.CodeUnsupported.
//
// The Client has to be Run, or at least Closed. Without Run, calls work until the
// connection is lost, and there are no events.
func Dial(ctx context.Context, o Options) (*Client, error) {
	c := &Client{
		o:       o,
		log:     o.Log,
		events:  newEvents(),
		calls:   make(chan struct{}, maxCalls),
		changed: make(chan struct{}),
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	l, err := c.open(ctx, true)
	if err != nil {
		return nil, explain(o.Scope, err)
	}
	c.cur = l
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// Run keeps the connection: it reconnects with a growing pause, subscribes again and
// delivers Events. It returns nil when ctx ends; the Client is closed then. It can run
// once.
func (c *Client) Run(ctx context.Context) error {
	c.mu.Lock()
	again := c.running
	c.running = true
	c.mu.Unlock()
	if again {
		return errors.New("run the systemd client: it runs already")
	}
	defer context.AfterFunc(ctx, c.cancel)()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer c.Close()
	wg.Go(func() { c.events.pump(c.ctx) })

	for {
		c.mu.Lock()
		l := c.cur
		c.mu.Unlock()
		if l == nil { // closed
			return nil
		}
		c.serve(l)
		c.set(nil)
		l.close()
		if c.ctx.Err() != nil {
			return nil
		}
		c.log.Warn("connection to systemd lost", "scope", c.o.Scope.String())
		next := c.reconnect(l.private)
		if next == nil {
			return nil
		}
		c.log.Info("connected to systemd again", "scope", c.o.Scope.String(), "private", next.private)
		c.events.resync() // before any call, so that it stands for no event of what a call does
		c.set(next)
	}
}

// Close ends the connection; calls and waits end with ErrDisconnected, and Run returns.
func (c *Client) Close() {
	c.cancel()
	c.mu.Lock()
	l := c.cur
	c.mu.Unlock()
	c.set(nil)
	if l != nil {
		l.close()
	}
}

// Events gives what the manager says about units of the prefix. States of one unit are
// coalesced: the latest wins, and a slow reader loses nothing but states in between. A
// zero UnitState means that everything must be looked at again: after a reconnect, a
// reload of the manager, or lost signals; it replaces what was waiting for the reader. The
// channel is never closed, and events only come while Run runs.
func (c *Client) Events() <-chan units.UnitState { return c.events.out }

// serve looks after a link until it is lost or the client ends.
func (c *Client) serve(l *link) {
	for {
		select {
		case <-l.lost():
			return
		case <-c.ctx.Done():
			return
		case <-l.refresh:
		}
		ctx, cancel := context.WithTimeout(c.ctx, openTimeout)
		// Some versions forget their subscribers over a reload or daemon-reexec.
		if err := l.subscribe(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("subscribe to systemd again", "err", err)
		}
		cancel()
		l.jobs.look()
		c.events.resync()
	}
}

// reconnect tries until it succeeds; nil means that the client ended.
func (c *Client) reconnect(wasPrivate bool) *link {
	lost := time.Now()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		l, err := c.open(c.ctx, wasPrivate || time.Since(lost) > busGrace)
		if err == nil {
			return l
		}
		c.log.Debug("connect to systemd", "err", err, "dur", time.Since(lost))
		select {
		case <-time.After(pause):
		case <-c.ctx.Done():
			return nil
		}
	}
}

// open tries each address once.
func (c *Client) open(ctx context.Context, private bool) (*link, error) {
	var errs []error
	for _, a := range addresses(c.o.Scope, os.Getenv, os.Geteuid()) {
		if a.private && !private {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, openTimeout)
		l, err := openLink(ctx, a, c.o.Prefix, c.events)
		cancel()
		if err == nil {
			return l, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// set makes l the link that calls use.
func (c *Client) set(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l != nil && c.ctx.Err() != nil { // closed meanwhile
		l.close()
		return
	}
	c.cur = l
	close(c.changed)
	c.changed = make(chan struct{})
}

// link gives the link to use, waiting for one until ctx ends.
func (c *Client) link(ctx context.Context) (*link, error) {
	for {
		c.mu.Lock()
		l, changed := c.cur, c.changed
		c.mu.Unlock()
		var ready, lost <-chan struct{}
		if l != nil {
			ready, lost = l.ready(), l.lost()
			select {
			case <-lost:
				ready, lost = nil, nil
			default:
			}
		}
		select {
		case <-ready:
			return l, nil
		case <-lost:
		case <-changed:
		case <-c.ctx.Done():
			return nil, ErrDisconnected
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrDisconnected, ctx.Err())
		}
	}
}

// do makes one call to the manager and stores the reply. op and unit are for the
// error. It returns the link that the call went over.
func (c *Client) do(ctx context.Context, op, unit string, path dbus.ObjectPath, method string, args []any, reply ...any) (*link, error) {
	if err := c.enter(ctx); err != nil {
		return nil, wrap(op, unit, err)
	}
	defer c.leave()
	for tries := 1; ; tries++ {
		l, err := c.link(ctx)
		if err != nil {
			return nil, wrap(op, unit, err)
		}
		call := l.call(ctx, path, method, args...)
		if call.Err == nil {
			if err := dbus.Store(call.Body, reply...); err != nil {
				err = &valueError{"the reply is not as documented: " + err.Error()}
				return nil, wrap(op, unit, err)
			}
			return l, nil
		}
		if !unsent(call.Err) || tries == 3 {
			return nil, wrap(op, unit, l.blame(call.Err))
		}
		if replyName(call.Err) == "" {
			select {
			case <-l.lost(): // follows at once
			case <-ctx.Done():
			}
		}
	}
}

// enter waits for a place among the calls in flight; leave gives it back.
func (c *Client) enter(ctx context.Context) error {
	select {
	case c.calls <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) leave() { <-c.calls }
