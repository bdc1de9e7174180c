package keeper

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// What bounds a call: how many there are at a time, fewer than the keeper takes; for how
// long a keeper is looked for that does not answer, and the pauses between.
const (
	maxAsking    = 96
	absentTime   = 20 * time.Second
	firstRetry   = 10 * time.Millisecond
	longestRetry = 500 * time.Millisecond
)

// tendInterval is how often a keeper is woken to look after the fence.
const tendInterval = 5 * time.Minute

// Remote has a Server do what needs privilege, and sees for itself what does not. Each call
// is a connection of its own, so that a keeper may end at any time: what it has not answered
// is asked of the next, since each call asks for a state and not for a change.
type Remote struct {
	view
	path  string
	turns chan struct{} // one element per call in flight

	mu      sync.Mutex // guards what follows
	started map[tenant.ID]bool
	news    chan struct{} // capacity 1: started has got one
}

// RemoteOptions is what a Remote needs.
type RemoteOptions struct {
	// Path is the keeper's socket.
	Path  string
	Units Units
	// Hints are the manager's events; a zero one stands for all units.
	Hints <-chan units.UnitState
	Log   *slog.Logger
}

// NewRemote makes a Remote; Look comes first.
func NewRemote(o RemoteOptions) *Remote {
	r := &Remote{path: o.Path, turns: make(chan struct{}, maxAsking), started: map[tenant.ID]bool{}, news: make(chan struct{}, 1)}
	r.set(Options{Units: o.Units, Hints: o.Hints, Log: o.Log})
	return r
}

// Look has the keeper read its tenement.toml, which has to have the given sum
// (config.Config.Sum), and gives what it knows of the machine. Before Run it also tells
// where things are.
func (r *Remote) Look(ctx context.Context, sum string) (units.Host, []Check, error) {
	answer, err := r.ask(ctx, request{Verb: verbLook, Sum: sum})
	if err != nil {
		return units.Host{}, nil, err
	}
	if answer.Host == nil {
		return units.Host{}, nil, errors.New("the keeper does not tell of the machine")
	}
	return *answer.Host, answer.Checks, nil
}

// Settle says where things are, as Look told; before Run.
func (r *Remote) Settle(host units.Host) { r.host = host }

// Sandbox is Sandbox.Look.
func (r *Remote) Sandbox(ctx context.Context) (units.Host, Check, error) {
	answer, err := r.ask(ctx, request{Verb: verbSandbox})
	if err == nil && (answer.Host == nil || len(answer.Checks) != 1) {
		err = errors.New("the keeper does not tell of gVisor")
	}
	if err != nil {
		return r.host, Check{}, err
	}
	return *answer.Host, answer.Checks[0], nil
}

// Load implements lifecycle.Controller. The keeper makes the spec itself: only names, the
// port and the limits reach it.
func (r *Remote) Load(ctx context.Context, spec tenant.Spec) error {
	_, err := r.about(ctx, verbLoad, spec.ID, request{Release: spec.Release, Port: spec.Port, Limits: spec.Limits, Secrets: spec.Secrets})
	return err
}

// Unload implements lifecycle.Controller.
func (r *Remote) Unload(ctx context.Context, id tenant.ID) error {
	_, err := r.about(ctx, verbUnload, id, request{})
	return err
}

// Stop implements lifecycle.Controller.
func (r *Remote) Stop(ctx context.Context, id tenant.ID) error {
	_, err := r.about(ctx, verbStop, id, request{})
	return err
}

// Wipe implements lifecycle.Controller.
func (r *Remote) Wipe(ctx context.Context, id tenant.ID, kept bool) error {
	_, err := r.about(ctx, verbWipe, id, request{Keep: !kept})
	return err
}

// SetLimits implements lifecycle.Limiter.
func (r *Remote) SetLimits(ctx context.Context, id tenant.ID, limits tenant.Limits) error {
	_, err := r.about(ctx, verbLimit, id, request{Limits: limits})
	return err
}

// Measure implements lifecycle.Limiter.
func (r *Remote) Measure(ctx context.Context, id tenant.ID) (bytes int64, enforced bool, err error) {
	answer, err := r.about(ctx, verbMeasure, id, request{})
	return answer.Bytes, answer.Enforced, err
}

// SetSecret implements lifecycle.SecretKeeper.
func (r *Remote) SetSecret(ctx context.Context, id tenant.ID, name string, value []byte) error {
	_, err := r.about(ctx, verbSecret, id, request{Secret: name, Value: value})
	return err
}

// RemoveSecrets implements lifecycle.SecretKeeper.
func (r *Remote) RemoveSecrets(ctx context.Context, id tenant.ID, names ...string) error {
	if len(names) == 0 {
		_, err := r.about(ctx, verbForget, id, request{})
		return err
	}
	var errs []error
	for _, name := range names {
		_, err := r.about(ctx, verbForget, id, request{Secret: name})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Run passes the manager's events on, and has the keeper bound the cgroups of who starts
// and look after the fence, until ctx ends.
func (r *Remote) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.tend(ctx) })
	r.forward(ctx, func(id tenant.ID) {
		r.mu.Lock()
		r.started[id] = true
		r.mu.Unlock()
		select {
		case r.news <- struct{}{}:
		default:
		}
	})
	return nil
}

func (r *Remote) tend(ctx context.Context) {
	tick := time.NewTicker(tendInterval)
	defer tick.Stop()
	for {
		var started map[tenant.ID]bool
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if _, err := r.ask(ctx, request{Verb: verbTend}); err != nil && ctx.Err() == nil {
				var e *tenant.Error
				hint := ""
				if errors.As(err, &e) {
					hint = e.Hint
				}
				r.log.Error("the fence is not looked after", "err", err, "hint", hint)
			}
			continue
		case <-r.news:
			r.mu.Lock()
			started, r.started = r.started, map[tenant.ID]bool{}
			r.mu.Unlock()
		}
		for id := range started {
			if _, err := r.about(ctx, verbTend, id, request{}); err != nil && ctx.Err() == nil {
				r.log.Warn("cgroups not bounded", "instance", id, "err", err)
			}
		}
	}
}

// about asks for something about an instance.
func (r *Remote) about(ctx context.Context, v verb, id tenant.ID, q request) (reply, error) {
	q.Verb, q.Service, q.Name = v, id.Service, id.Name
	return r.ask(ctx, q)
}

// ask asks until a keeper has answered. One that hangs up before that has ended; where none
// can be reached systemd may be starting one.
func (r *Remote) ask(ctx context.Context, q request) (reply, error) {
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	case <-ctx.Done():
		return reply{}, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var absent time.Time // since when none can be reached
	lost := 0            // how often one has ended before its answer
	for pause := firstRetry; ; pause = min(2*pause, longestRetry) {
		answer, reached, err := r.once(ctx, q)
		if err == nil {
			return answer, answer.Fault.err(q.id())
		}
		if ctx.Err() != nil {
			return reply{}, fmt.Errorf("ask the keeper to %s: %w", q.Verb, context.Cause(ctx))
		}
		now := time.Now()
		switch {
		case reached:
			absent = time.Time{}
			lost++
		case absent.IsZero():
			absent = now
		}
		if !isTemporary(err) || lost == maxAgain || !absent.IsZero() && now.Sub(absent) > absentTime {
			e := &tenant.Error{
				Code: tenant.CodeUnavailable, Op: "ask the keeper to " + string(q.Verb), ID: q.id(), Err: err,
				Msg:  "the keeper, which does what needs root, does not answer",
				Hint: "`systemctl status tenement-keeper.socket tenement-keeper.service` says why",
			}
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) { // systemd has given up its socket for good
				e.Msg += ": nobody listens at " + r.path
				e.Hint = "`systemctl start tenement-keeper.socket` opens it, after `systemctl unmask tenement-keeper.service` where that is masked"
			}
			return reply{}, e
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// once asks one keeper.
func (r *Remote) once(ctx context.Context, q request) (answer reply, reached bool, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", r.path)
	if err != nil {
		return reply{}, false, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if err := writeMessage(conn, q); err != nil {
		return reply{}, true, err
	}
	if err := readMessage(bufio.NewReader(conn), maxReply, &answer); err != nil {
		return reply{}, true, err
	}
	return answer, true, nil
}

// isTemporary reports whether the next keeper may do better: this one has ended, its socket
// is away for a moment, or many wait there.
func isTemporary(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || isHangup(err) || errors.Is(err, os.ErrNotExist) ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EAGAIN)
}
