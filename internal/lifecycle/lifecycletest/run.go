package lifecycletest

import (
	"context"
	"fmt"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// run is one life of an instance's process.
type run struct {
	id     tenant.ID
	number int
	app    App
	// ctx ends with the run; kill ends it.
	ctx  context.Context
	kill context.CancelFunc
	// term is closed by SIGTERM, ended when the unit is down.
	term, ended chan struct{}
	termed      bool
	oom         bool

	accepting       bool // ten-init takes calls
	running         bool // the app is ready
	armed           bool // the app is not started before wanted is closed
	wanted          chan struct{}
	initAt, readyAt int64
	waiting         []*call       // taken and not answered
	thawed          chan struct{} // not nil while frozen; closed by a thaw
	held            bool          // somebody has it frozen
	single          chan struct{} // the place at which a Single app serves
}

func (s *Systemd) setLocked(u *unit, active string) {
	u.active = active
	s.hints.put(units.Status{ID: u.spec.ID, Active: active, Exit: u.last})
}

// startLocked starts the unit, which must not run.
func (s *Systemd) startLocked(u *unit) {
	id := u.spec.ID
	s.runs[id]++
	app, ok := s.apps[id]
	if !ok {
		app = s.standard
	}
	if s.appOf != nil {
		if special, ok := s.appOf(u.spec); ok {
			app = special
		}
	}
	r := &run{id: id, number: s.runs[id], app: app, term: make(chan struct{}), ended: make(chan struct{}), wanted: make(chan struct{}), single: make(chan struct{}, 1)}
	r.ctx, r.kill = context.WithCancel(context.Background())
	u.run, u.exit = r, units.Exit{}
	s.setLocked(u, "activating")
	s.wg.Go(func() {
		exit := s.live(u, r)
		s.endRun(u, r, exit)
	})
}

// termLocked sends SIGTERM.
func (s *Systemd) termLocked(u *unit) {
	r := u.run
	if r.termed {
		return
	}
	r.termed = true
	close(r.term)
	s.signalLocked(u, "term")
	s.setLocked(u, "deactivating")
	s.refuseLocked(r, &ingress.Refusal{Class: ingress.ClassGone, Text: "the app is stopping"})
	r.thawLocked()
}

func (s *Systemd) signalLocked(u *unit, what string) {
	if s.onSignal != nil {
		s.onSignal(u.spec.ID, what)
	}
}

// live is the process from its start to its end.
func (s *Systemd) live(u *unit, r *run) units.Exit {
	if !r.pass(max(r.app.Boot, time.Millisecond)) {
		return s.die(r)
	}
	if r.app.UnitFails {
		return units.Exit{Result: "exit-code", Code: 1, Status: 203}
	}
	s.mu.Lock()
	r.initAt = ingress.Monotonic()
	r.accepting = !r.termed
	armed := r.accepting && len(u.backlog) > 0 && u.backlog[0].verb == ingress.Arm
	if r.armed = armed; armed {
		s.setLocked(u, "active")
	}
	s.takeLocked(u)
	s.mu.Unlock()
	if armed {
		select {
		case <-r.wanted:
		case <-r.term:
			return units.Exit{Result: "success"} // there is no app that could make trouble
		case <-r.ctx.Done():
			return s.die(r)
		}
	}
	s.mu.Lock()
	port := u.spec.Port
	taken := s.taken[port]
	s.mu.Unlock()
	if taken {
		return s.fail(r, &ingress.Refusal{Class: ingress.ClassPortTaken, Text: fmt.Sprintf("port %d is in use by another process", port)})
	}
	if r.app.Refusal != nil {
		if !r.pass(r.app.Ready) {
			return s.die(r)
		}
		return s.fail(r, r.app.Refusal)
	}
	ready := r.app.Ready
	timeout := r.app.NeverReady || ready > u.spec.StartupTimeout
	if timeout {
		ready = u.spec.StartupTimeout
	}
	if !r.pass(ready) {
		return s.die(r)
	}
	s.mu.Lock()
	if timeout {
		s.refuseLocked(r, &ingress.Refusal{Class: ingress.ClassTimeout, Text: "the app accepted no connection"})
		s.mu.Unlock()
		r.pass(r.app.Stop)
		return units.Exit{Result: "exit-code", Code: 1, Status: 124}
	}
	if !r.termed {
		r.running, r.readyAt = true, ingress.Monotonic()
		s.setLocked(u, "active")
		waiting := r.waiting
		r.waiting = nil
		for _, c := range waiting {
			s.handleLocked(u, c)
		}
	}
	s.mu.Unlock()
	select {
	case <-r.term:
	case <-r.ctx.Done():
	case <-r.app.Exit:
		s.mu.Lock()
		s.refuseLocked(r, &ingress.Refusal{Class: ingress.ClassGone, Text: "exit status 0"})
		s.mu.Unlock()
		return units.Exit{Result: "success", Code: 1}
	}
	return s.die(r)
}

// pass waits for d; false if a signal came first.
func (r *run) pass(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.term:
	case <-r.ctx.Done():
	}
	return false
}

// die is the end after a signal.
func (s *Systemd) die(r *run) units.Exit {
	select {
	case <-r.term:
		pause(r.ctx, r.app.Stop)
		if r.app.StopFails {
			return units.Exit{Result: "exit-code", Code: 1, Status: 137, Said: ingress.SaidStopping}
		}
		return units.Exit{Result: "success", Code: 1, Status: 143, Said: ingress.SaidStopping}
	default:
		if r.app.Unseen {
			return units.Exit{Result: "success"}
		}
		return units.Exit{Result: "signal", Code: 2, Status: 9}
	}
}

// fail is the end of a start that went wrong.
func (s *Systemd) fail(r *run, refusal *ingress.Refusal) units.Exit {
	s.mu.Lock()
	s.refuseLocked(r, refusal)
	s.mu.Unlock()
	r.pass(time.Millisecond) // ten-init exits a moment after it has answered
	return units.Exit{Result: "exit-code", Code: 1, Status: 1}
}

// refuseLocked ends the waiting of all callers; there will be no more.
func (s *Systemd) refuseLocked(r *run, refusal *ingress.Refusal) {
	r.accepting, r.running = false, false
	for _, c := range r.waiting {
		if r.app.Mute {
			c.end(ingress.Answer{}, fmt.Errorf("%s: %w", c.verb, ingress.ErrHungUp))
			continue
		}
		c.end(ingress.Answer{}, fmt.Errorf("%s: %w", c.verb, refusal))
	}
	r.waiting = nil
}

func (s *Systemd) endRun(u *unit, r *run, exit units.Exit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.kill()
	s.refuseLocked(r, &ingress.Refusal{Class: ingress.ClassGone, Text: "the app has ended"})
	r.thawLocked()
	if r.oom {
		exit.Result = "oom-kill"
	}
	u.run, u.exit, u.last = nil, exit, exit
	u.last.At = ingress.Monotonic()
	if exit.Result == "success" {
		s.setLocked(u, "inactive")
	} else {
		s.setLocked(u, "failed")
	}
	close(r.ended)
	if u.doorbell && len(u.backlog) > 0 {
		s.triggerLocked(u)
	}
}

// triggerLocked starts the unit for who has rung, as soon as the manager gets to it.
func (s *Systemd) triggerLocked(u *unit) {
	latency := s.latency("trigger")
	if latency == 0 {
		s.startLocked(u)
		return
	}
	s.wg.Go(func() {
		time.Sleep(latency)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.units[u.spec.ID] == u && u.run == nil && u.doorbell {
			s.startLocked(u)
		}
	})
}

func (r *run) thawLocked() bool {
	if r.thawed == nil {
		return false
	}
	close(r.thawed)
	r.thawed = nil
	return true
}
