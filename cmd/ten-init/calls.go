package main

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"tenement.dev/internal/ingress"
)

// refusedPatience is how long a connection is tried for that an app refuses although
// it has accepted others: some close their socket between two requests.
const refusedPatience = time.Second

// holdTime bounds how long a caller may have the app frozen.
const holdTime = 15 * time.Minute

// acceptPause is the pause after a caller could not be taken, as for want of descriptors,
// of which those who are answered give some back.
const acceptPause = 5 * time.Millisecond

// accept takes callers until the doorbell's deadline.
func (s *supervisor) accept(doorbell *net.UnixListener) {
	for {
		conn, err := doorbell.AcceptUnix()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(acceptPause)
			continue
		}
		s.calls.Go(func() { s.serve(conn) })
	}
}

// serve answers one call. A caller that has left is noticed when it is answered;
// then there is nobody to tell.
func (s *supervisor) serve(conn *net.UnixConn) {
	defer s.tidyLater()
	if call, err := ingress.ReadCall(conn); err == nil {
		s.answer(call)
	}
}

// tidyLater has memory given back where there were calls enough for that to be worth it.
func (s *supervisor) tidyLater() {
	if s.untidy.Add(1) >= tidyCalls {
		s.tidy.Reset(tidyDelay)
	}
}

// answer answers a call whose verb is known.
func (s *supervisor) answer(call *ingress.Call) {
	var app *os.File
	var answer ingress.Answer
	var err error
	switch call.Verb {
	case ingress.Connect, ingress.Ready:
		answer, app, err = s.wake(call.Verb == ingress.Connect)
	case ingress.Probe:
		answer, app, err = s.probe()
	case ingress.Doze:
		answer, err = s.doze()
	case ingress.Freeze:
		s.hold(call)
		return
	case ingress.Status, ingress.Arm:
		answer = s.status()
	default:
		err = &ingress.Refusal{Class: ingress.ClassBadRequest, Text: "unknown verb"}
	}
	switch {
	case err != nil:
		_ = call.Refuse(refusalOf(err))
	case app == nil:
		_ = call.Answer(answer, nil)
	default:
		_ = call.Answer(answer, app)
		app.Close()
	}
}

// refusalOf is err as a caller is told it.
func refusalOf(err error) *ingress.Refusal {
	var refusal *ingress.Refusal
	if errors.As(err, &refusal) {
		return refusal
	}
	return &ingress.Refusal{Class: ingress.ClassGone, Text: err.Error()}
}

// wake waits for the app to be ready, thaws it, and connects to it if asked to.
func (s *supervisor) wake(connect bool) (ingress.Answer, *os.File, error) {
	answer, spare, err := s.await(connect)
	if err != nil {
		return ingress.Answer{}, nil, err
	}
	if answer.Dozing, err = s.thaw(); err != nil {
		return ingress.Answer{}, nil, err
	}
	if !connect || spare != nil {
		return answer, spare, nil
	}
	app, err := s.connect()
	return answer, app, err
}

// connect makes a connection to an app that is ready.
func (s *supervisor) connect() (*os.File, error) {
	ctx, cancel := context.WithTimeout(context.Background(), connectPatience)
	defer cancel()
	stop := s.onEnding(cancel)
	defer stop()
	var app *os.File
	err := errCrowded
	if s.crowd.enter(ctx, time.Now()) {
		app, err = s.o.listen.dialAgain(ctx, s.crowd)
		s.crowd.leave()
	}
	if err != nil {
		s.mu.Lock()
		refusal := s.refusal
		s.mu.Unlock()
		if refusal == nil {
			// Also where another has the app's port now: the app runs, but not there.
			refusal = &ingress.Refusal{Class: ingress.ClassRefused, Text: err.Error()}
		}
		return nil, refusal
	}
	return app, nil
}

// probe connects to the app if it is awake, and changes nothing.
func (s *supervisor) probe() (ingress.Answer, *os.File, error) {
	answer := s.status()
	s.mu.Lock()
	phase, refusal := s.phase, s.refusal
	s.mu.Unlock()
	switch {
	case phase == ending:
		return ingress.Answer{}, nil, refusal
	case phase == starting || phase == armed || answer.Dozing:
		return answer, nil, nil
	}
	app, err := s.connect()
	return answer, app, err
}

// await waits for the app to be ready. A caller that wants a connection may get the
// one that proved it.
func (s *supervisor) await(connect bool) (ingress.Answer, *os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if connect {
		s.connects++
		defer func() { s.connects-- }()
	}
	if s.phase == armed {
		s.setPhase(starting)
		close(s.wanted)
	}
	for s.phase == starting {
		changed := s.changed
		s.mu.Unlock()
		<-changed
		s.mu.Lock()
	}
	if s.phase == ending {
		return ingress.Answer{}, nil, s.refusal
	}
	var spare *os.File
	if connect {
		spare, s.spare = s.spare, nil
	}
	return ingress.Answer{InitAt: s.started, ReadyAt: s.readyAt}, spare, nil
}

// onEnding calls f when the app stops or ends, unless stop is called before.
func (s *supervisor) onEnding(f func()) (stop func()) {
	done := make(chan struct{})
	s.mu.Lock()
	changed, phase := s.changed, s.phase
	s.mu.Unlock()
	if phase == ending {
		f()
		return func() {}
	}
	go func() {
		select {
		case <-changed: // from running there is only one way
			f()
		case <-done:
		}
	}()
	return func() { close(done) }
}

// thaw lets a dozing app go on and reports whether it dozed.
func (s *supervisor) thaw() (bool, error) {
	s.freezeMu.Lock()
	defer s.freezeMu.Unlock()
	s.awaitHeld()
	if !s.frozen {
		return false, nil
	}
	return true, s.thawHeld()
}

// thawHeld lets a frozen app go on. freezeMu must be held.
func (s *supervisor) thawHeld() error {
	if err := s.cg.thaw(); err != nil {
		return err
	}
	s.frozen = false
	s.thaws++
	return nil
}

// doze freezes the app and starts to give its memory back.
func (s *supervisor) doze() (ingress.Answer, error) {
	s.freezeMu.Lock()
	defer s.freezeMu.Unlock()
	before := s.frozen
	answer, err := s.freezeHeld()
	if err == nil && !before {
		go s.cg.reclaim()
	}
	return answer, err
}

// awaitHeld waits until nobody has the app frozen. freezeMu must be held.
func (s *supervisor) awaitHeld() {
	for s.held != nil {
		held := s.held
		s.freezeMu.Unlock()
		<-held
		s.freezeMu.Lock()
	}
}

// hold freezes the app for as long as the caller stays, or until it is to stop.
func (s *supervisor) hold(call *ingress.Call) {
	s.freezeMu.Lock()
	s.awaitHeld()
	before := s.frozen
	answer, err := s.freezeHeld()
	thaws := s.thaws
	held := make(chan struct{})
	if err == nil {
		s.held = held
	}
	s.freezeMu.Unlock()
	if err != nil {
		_ = call.Refuse(refusalOf(err))
		return
	}
	answer.Dozing = before
	ctx, cancel := context.WithTimeout(context.Background(), holdTime)
	defer cancel()
	stop := s.onEnding(cancel)
	waits := call.Hold(ctx, answer)
	stop()

	s.freezeMu.Lock()
	s.held = nil
	close(held)
	kept := s.frozen && s.thaws == thaws && ctx.Err() == nil
	if s.frozen && s.thaws == thaws && !before {
		err = s.thawHeld()
	}
	s.freezeMu.Unlock()
	switch {
	case !waits:
		call.Close()
	case err != nil:
		_ = call.Refuse(refusalOf(err))
	case !kept:
		_ = call.Refuse(&ingress.Refusal{Class: ingress.ClassGone, Text: "the app was not frozen all the time"})
	default:
		_ = call.Answer(answer, nil)
	}
}

// freezeHeld freezes the app, unless it is frozen. freezeMu must be held.
func (s *supervisor) freezeHeld() (ingress.Answer, error) {
	if s.cg == nil {
		return ingress.Answer{}, &ingress.Refusal{Class: ingress.ClassUnsupported, Text: s.cgErr.Error()}
	}
	s.mu.Lock()
	phase, readyAt := s.phase, s.readyAt
	s.mu.Unlock()
	if phase != running {
		return ingress.Answer{}, &ingress.Refusal{Class: ingress.ClassGone, Text: "the app is not running"}
	}
	if !s.frozen {
		if err := s.cg.freeze(); err != nil {
			class := ingress.ClassUnsupported
			if errors.Is(err, errNotFrozen) {
				class = ingress.ClassNotFrozen
			}
			return ingress.Answer{}, &ingress.Refusal{Class: class, Text: err.Error()}
		}
		s.frozen = true
	}
	return ingress.Answer{InitAt: s.started, ReadyAt: readyAt, Dozing: true}, nil
}

func (s *supervisor) status() ingress.Answer {
	s.freezeMu.Lock()
	defer s.freezeMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return ingress.Answer{InitAt: s.started, ReadyAt: s.readyAt, Dozing: s.frozen, Armed: s.phase == armed}
}
