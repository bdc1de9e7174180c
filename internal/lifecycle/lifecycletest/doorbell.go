package lifecycletest

import (
	"context"
	"fmt"
	"net"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/lifecycle"
	"tenement.dev/internal/tenant"
)

// Doorbell gives an instance's doorbell.
func (s *Systemd) Doorbell(id tenant.ID) lifecycle.Doorbell { return doorbell{s, id} }

type doorbell struct {
	s  *Systemd
	id tenant.ID
}

// Connect implements lifecycle.Doorbell.
func (d doorbell) Connect(ctx context.Context) (net.Conn, ingress.Answer, error) {
	c, err := d.ring(ctx, ingress.Connect)
	if err != nil {
		return nil, ingress.Answer{}, err
	}
	return c.conn, c.answer, nil
}

// ProbeApp implements lifecycle.Doorbell.
func (d doorbell) ProbeApp(ctx context.Context) (net.Conn, ingress.Answer, error) {
	c, err := d.ring(ctx, ingress.Probe)
	if err != nil {
		return nil, ingress.Answer{}, err
	}
	return c.conn, c.answer, nil
}

// Do implements lifecycle.Doorbell.
func (d doorbell) Do(ctx context.Context, verb ingress.Verb) (ingress.Answer, error) {
	c, err := d.ring(ctx, verb)
	if err != nil {
		return ingress.Answer{}, err
	}
	return c.answer, nil
}

// Freeze implements lifecycle.Doorbell.
func (d doorbell) Freeze(ctx context.Context) (func(context.Context) error, ingress.Answer, error) {
	c, err := d.ring(ctx, ingress.Freeze)
	if err != nil {
		return nil, ingress.Answer{}, err
	}
	s, r, thawed := d.s, c.frozen, c.thawed
	return func(context.Context) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		kept := r.thawed == thawed
		r.held = false
		if kept && !c.answer.Dozing {
			r.thawLocked()
		}
		if u := s.units[r.id]; u != nil && u.run == r && r.running {
			waiting := r.waiting
			r.waiting = nil
			for _, c := range waiting {
				s.handleLocked(u, c)
			}
		}
		if !kept {
			return &ingress.Refusal{Class: ingress.ClassGone, Text: "the app was not frozen all the time"}
		}
		return nil
	}, c.answer, nil
}

func (d doorbell) ring(ctx context.Context, verb ingress.Verb) (*call, error) {
	s := d.s
	if ctx.Err() != nil {
		return nil, fmt.Errorf("ring doorbell: %w", context.Cause(ctx))
	}
	s.mu.Lock()
	u := s.units[d.id]
	if u == nil || !u.doorbell {
		s.mu.Unlock()
		return nil, fmt.Errorf("%w of %s", ingress.ErrNoDoorbell, d.id)
	}
	c := &call{verb: verb, done: make(chan struct{})}
	u.backlog = append(u.backlog, c)
	if u.run == nil {
		s.triggerLocked(u)
	} else {
		s.takeLocked(u)
	}
	s.mu.Unlock()
	select {
	case <-c.done:
		return c, c.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.left = true
	if c.conn != nil {
		c.conn.Close()
	}
	return nil, fmt.Errorf("%s: %w", verb, context.Cause(ctx))
}

// call is one ring of a doorbell.
type call struct {
	verb ingress.Verb
	done chan struct{}
	left bool // the caller has gone

	answer ingress.Answer
	conn   net.Conn
	err    error
	// frozen is the run that a freeze has frozen, and thawed what its end closes.
	frozen *run
	thawed chan struct{}
}

func (c *call) end(a ingress.Answer, err error) {
	c.answer, c.err = a, err
	close(c.done)
}

// hangUpLocked ends all rings that wait in the backlog.
func (u *unit) hangUpLocked() {
	for _, c := range u.backlog {
		c.end(ingress.Answer{}, fmt.Errorf("%s: %w", c.verb, ingress.ErrHungUp))
	}
	u.backlog = nil
}

// takeLocked has ten-init take what waits in the backlog.
func (s *Systemd) takeLocked(u *unit) {
	if u.run == nil || !u.run.accepting {
		return
	}
	backlog := u.backlog
	u.backlog = nil
	for _, c := range backlog {
		s.handleLocked(u, c)
	}
}

func (s *Systemd) handleLocked(u *unit, c *call) {
	r := u.run
	switch {
	case c.left:
		c.end(ingress.Answer{}, ingress.ErrHungUp)
	case r.app.Mute, r.app.Stuck && r.thawed != nil:
		r.waiting = append(r.waiting, c)
	case c.verb == ingress.Status, c.verb == ingress.Arm:
		c.end(r.answer(r.thawed != nil), nil)
	case r.held && c.verb != ingress.Probe:
		r.waiting = append(r.waiting, c)
	case c.verb == ingress.Doze, c.verb == ingress.Freeze:
		s.dozeLocked(u, c)
	case c.verb == ingress.Probe:
		if r.running && r.thawed == nil {
			s.connectLocked(r, c)
		}
		c.end(r.answer(r.thawed != nil), nil)
	case !r.running:
		r.waiting = append(r.waiting, c)
		if r.armed {
			r.armed = false
			close(r.wanted)
		}
	default:
		dozed := r.thawLocked()
		if c.verb == ingress.Connect {
			s.connectLocked(r, c)
		}
		c.end(r.answer(dozed), nil)
	}
}

// connectLocked makes the connection that answers a call.
func (s *Systemd) connectLocked(r *run, c *call) {
	near, far := net.Pipe()
	c.conn = near
	s.wg.Go(func() { s.serve(r, far) })
}

func (r *run) answer(dozing bool) ingress.Answer {
	return ingress.Answer{InitAt: r.initAt, ReadyAt: r.readyAt, Dozing: dozing, Armed: r.armed || r.app.Pretends}
}

func (s *Systemd) dozeLocked(u *unit, c *call) {
	r := u.run
	switch {
	case r.app.CannotFreeze:
		c.end(ingress.Answer{}, &ingress.Refusal{Class: ingress.ClassUnsupported, Text: "cannot freeze"})
		return
	case s.apps[u.spec.ID].Unfrozen:
		c.end(ingress.Answer{}, &ingress.Refusal{Class: ingress.ClassNotFrozen, Text: "not frozen within 1s"})
		return
	case !r.running:
		c.end(ingress.Answer{}, &ingress.Refusal{Class: ingress.ClassGone, Text: "the app is not running"})
		return
	}
	s.wg.Go(func() {
		alive := pause(r.ctx, r.app.Freeze)
		s.mu.Lock()
		defer s.mu.Unlock()
		if !alive || !r.running {
			c.end(ingress.Answer{}, &ingress.Refusal{Class: ingress.ClassGone, Text: "the app is not running"})
			return
		}
		before := r.thawed != nil
		if !before {
			r.thawed = make(chan struct{})
			s.signalLocked(u, "freeze")
		}
		c.frozen, c.thawed, r.held = r, r.thawed, c.verb == ingress.Freeze
		c.end(r.answer(before || c.verb == ingress.Doze), nil)
	})
}
