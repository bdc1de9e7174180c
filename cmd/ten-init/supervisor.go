package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"tenement.dev/internal/ingress"
)

// phase is what the app is doing.
type phase uint8

const (
	starting phase = iota
	armed          // not started, and to be so until somebody wants it
	running        // has accepted a connection; may be frozen
	ending         // stopping, exited or never started
)

// drainTime is how long ten-init looks for callers to tell them why the app did not
// start, when it is about to exit.
const drainTime = 5 * time.Millisecond

// stopSignalTime is how long after an app that SIGTERM has ended ten-init's own may come:
// systemd sends them one by one, and may have to wait for a processor in between.
const stopSignalTime = 500 * time.Millisecond

// tidyDelay is the pause after the last call until ten-init gives its own memory back,
// since there are as many of it as there are instances; tidyCalls is after how many. The
// collection costs as much as an answer, and takes as much memory as some.
const (
	tidyDelay = time.Second
	tidyCalls = 32
)

// lingerTime bounds the wait for callers to take their answers before ten-init exits.
const lingerTime = time.Second

// leftRunning is said of an app that has gone into the background.
const leftRunning = "ten-init: the app's first process has ended, and what it left running ends with it: an app must stay in the foreground"

// supervisor is ten-init at work.
type supervisor struct {
	o       options // o.listen.network is set before the phase is running
	started int64   // ingress.Monotonic at the beginning of main
	cg      *cgroup
	cgErr   error // why there is no cg
	calls   sync.WaitGroup
	crowd   *crowd
	tidy    *time.Timer  // gives memory back when there were no calls for a while
	untidy  atomic.Int64 // calls since

	// mu guards what follows. freezeMu, where both are held, comes first.
	mu       sync.Mutex
	phase    phase
	changed  chan struct{} // closed and replaced when phase changes
	wanted   chan struct{} // closed when an armed app is to start
	refusal  *ingress.Refusal
	readyAt  int64
	connects int      // callers that wait for a connection
	spare    *os.File // the connection that proved readiness, for one of them

	// freezeMu is held over freezing and thawing; it guards frozen and thaws, which counts
	// how often the app was let go on.
	freezeMu sync.Mutex
	frozen   bool
	thaws    int
	// held, not nil while a caller has the app frozen, is closed when it has no more: who
	// wants it thawed waits.
	held chan struct{}
}

func newSupervisor(o options, started int64) *supervisor {
	s := &supervisor{o: o, started: started, crowd: newCrowd(), changed: make(chan struct{}), wanted: make(chan struct{})}
	s.tidy = time.AfterFunc(tidyDelay, func() {
		s.untidy.Store(0)
		debug.FreeOSMemory()
	})
	s.tidy.Stop()
	s.cg, s.cgErr = enterCgroup()
	return s
}

// run serves the doorbell for the life of the app and gives the code to exit with.
func (s *supervisor) run(doorbell *net.UnixListener) int {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT,
		syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	if s.o.sandbox != nil {
		// The unit's KillSignal=; SIGTERM would end what the app runs on.
		signal.Notify(signals, syscall.SIGCONT)
	}
	// Orphans of the app come to ten-init also where it is not the first process.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

	// Whatever can be made before somebody waits is.
	out := s.o.listen.lookout()
	first := firstCall(doorbell)
	arm := first != nil && first.Verb == ingress.Arm
	if arm && !s.stayArmed(first, doorbell, signals) {
		return 0
	}
	a, refusal, code := s.start(out)
	if first != nil && !arm {
		s.calls.Go(func() { s.answer(first) })
	}
	if refusal != nil {
		s.refuse(refusal)
		s.drain(doorbell)
		return code
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.o.startupTimeout)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- s.awaitReady(ctx, a, out) }()
	if !arm {
		s.calls.Go(func() { s.accept(doorbell) })
	}
	return s.supervise(a, doorbell, signals, ready)
}

// start starts the app, or says why it cannot be and what to exit with.
func (s *supervisor) start(out *lookout) (*app, *ingress.Refusal, int) {
	if s.o.listen.taken(out) {
		return nil, s.o.listen.portTaken(), exitBusy
	}
	socket, err := s.o.listen.prepare()
	if err != nil {
		return nil, &ingress.Refusal{Class: ingress.ClassExec, Text: err.Error()}, exitExec
	}
	if socket != nil {
		defer socket.Close()
	}
	a, err := startApp(s.o, s.cg, socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ten-init:", err)
		return nil, &ingress.Refusal{Class: ingress.ClassExec, Text: err.Error()}, exitExec
	}
	return a, nil, 0
}

// supervise waits for the app to end. Signals need no forwarding: systemd sends them
// to the unit's whole cgroup (KillMode=control-group, systemd.kill(5)), so that the
// app has its SIGTERM already when ten-init gets one, and a second could cut short
// what it does on the first. Only a sandboxed app hears of it from ten-init, and one that
// has been started just now. The others are caught so that they end the app alone.
//
// All that have got SIGTERM have the grace to end in: the app may be a shell that dies of
// it at once, and what serves its child.
func (s *supervisor) supervise(a *app, doorbell *net.UnixListener, signals <-chan os.Signal, ready <-chan error) int {
	var grace <-chan time.Time
	said := ingress.SaidStopping
	failed := 0 // the code to exit with where the app did not become ready
	var status syscall.WaitStatus
	over, told := false, false // the app has ended with status; all have got SIGTERM
	end := func() int {
		code := s.ended(a, doorbell, status, signals)
		if failed != 0 {
			return failed
		}
		return code
	}
	stop := func() {
		if grace == nil {
			grace = time.After(s.o.stopGrace)
			s.stopping(doorbell)
			_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping+"\nSTATUS="+said)
		}
	}
	for {
		select {
		case sig := <-signals:
			switch sig {
			case syscall.SIGCHLD:
				ws, ended, nobody := a.reap()
				if ended {
					status, over = ws, true
					if grace == nil && !s.outOfMemory() && toldToStop(signals, status) {
						told = s.o.sandbox == nil
						stop()
					}
					_, _, nobody = a.reap() // toldToStop may have taken others' SIGCHLD
					if grace == nil && status.Exited() && status.ExitStatus() == 0 && !nobody && s.o.sandbox == nil {
						fmt.Fprintln(os.Stderr, leftRunning)
					}
					if grace == nil {
						_, _ = daemon.SdNotify(false, "STATUS="+ingress.SaidEnded+describe(status))
					}
				}
				if over && (nobody || !told) {
					return end()
				}
			case syscall.SIGTERM, syscall.SIGCONT:
				// When that was sent the app may not have been there yet.
				late := s.isStarting() && time.Since(a.begun) < stopSignalTime
				told = s.o.sandbox == nil
				stop()
				if late || s.o.sandbox != nil {
					a.terminate()
				}
			case syscall.SIGINT:
				// The keeper's, where systemd's signal may have been lost; see there. The app
				// has been started after that.
				if grace == nil {
					stop()
					a.terminate()
				}
			}
		case err := <-ready:
			if err == nil {
				s.notifyReady()
				continue
			}
			var refusal *ingress.Refusal
			refusal, failed = s.notReady(err)
			fmt.Fprintln(os.Stderr, "ten-init:", refusal.Text)
			s.refuse(refusal)
			a.terminate()
			said = refusal.Text
			stop()
		case <-grace:
			if over {
				return end()
			}
			told = false
			a.kill()
		}
	}
}

// notReady says why an app that runs did not become ready, and what to exit with.
func (s *supervisor) notReady(err error) (*ingress.Refusal, int) {
	var refusal *ingress.Refusal
	if errors.As(err, &refusal) {
		return refusal, exitBusy
	}
	return &ingress.Refusal{
		Class: ingress.ClassTimeout,
		Text:  fmt.Sprintf("the app accepted no connection on %s within %v", s.o.listen, s.o.startupTimeout),
	}, exitTimeout
}

func (s *supervisor) isStarting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase == starting
}

// toldToStop reports whether a SIGTERM is about to come: the whole cgroup gets it, one
// process after the other, so an app may have ended of it before ten-init hears of it.
// That is no failed start, and no end of the app's own.
func toldToStop(signals <-chan os.Signal, status syscall.WaitStatus) bool {
	patience := drainTime
	if exitCode(status) == 128+int(syscall.SIGTERM) {
		patience = stopSignalTime
	}
	timeout := time.After(patience)
	for {
		select {
		case sig := <-signals:
			if sig == syscall.SIGTERM || sig == syscall.SIGINT {
				return true
			}
		case <-timeout:
			return false
		}
	}
}

// awaitReady tries the app until it accepts a connection; nil also when the app
// ended before. out, which may be nil, is needed no longer then.
func (s *supervisor) awaitReady(ctx context.Context, a *app, out *lookout) error {
	if out != nil {
		defer out.close()
	}
	var conn *os.File
	var network string
	var err error
	if s.o.listen.own {
		network, err = s.o.listen.dialOwn(ctx, a, out)
	} else {
		conn, err = s.o.listen.dial(ctx, a, out)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != starting {
		if conn != nil {
			conn.Close()
		}
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case conn == nil: // each caller makes its own
	case s.connects > 0:
		s.spare = conn
	default:
		conn.Close()
	}
	s.o.listen.network = network
	s.readyAt = ingress.Monotonic()
	s.setPhase(running)
	return nil
}

// notifyReady tells systemd that the unit is started, if the app lived to see it.
func (s *supervisor) notifyReady() {
	s.mu.Lock()
	up := s.phase == running
	s.mu.Unlock()
	if up {
		_, _ = daemon.SdNotify(false, daemon.SdNotifyReady+"\nSTATUS=")
	}
}

// setPhase needs mu held.
func (s *supervisor) setPhase(p phase) {
	s.phase = p
	close(s.changed)
	s.changed = make(chan struct{})
}

// refuse ends the waiting of every caller, present and to come, with r.
func (s *supervisor) refuse(r *ingress.Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != ending {
		s.refusal = r
		s.setPhase(ending)
	}
}

// stopping makes ten-init take no more callers: they wait in the doorbell's backlog
// for the next run. A frozen app is thawed, or it could not hear the signal.
func (s *supervisor) stopping(doorbell *net.UnixListener) {
	if s.isStarting() && s.outOfMemory() {
		s.refuse(noMemory()) // that is why it is stopped
	}
	s.refuse(&ingress.Refusal{Class: ingress.ClassGone, Text: "the app is stopping"})
	_ = doorbell.SetDeadline(time.Unix(1, 0))
	s.freezeMu.Lock()
	defer s.freezeMu.Unlock()
	if s.frozen {
		_ = s.thawHeld()
	}
}

// ended tidies up after the app and gives the code to exit with. Callers learn how
// an app ended that never accepted a connection; later ones ring again.
func (s *supervisor) ended(a *app, doorbell *net.UnixListener, status syscall.WaitStatus, signals <-chan os.Signal) int {
	all := a.kill()
	s.mu.Lock()
	before := s.phase
	s.mu.Unlock()
	if before == starting {
		s.refuse(s.earlyEnd(status))
		_ = doorbell.SetDeadline(time.Now().Add(drainTime))
	} else {
		s.refuse(&ingress.Refusal{Class: ingress.ClassGone, Text: describe(status)})
		_ = doorbell.SetDeadline(time.Unix(1, 0))
	}
	s.linger()
	if all {
		a.reapAll(signals)
	}
	if status.Signaled() && status.Signal() == syscall.SIGKILL && s.outOfMemory() {
		return ingress.ExitMemory
	}
	return exitCode(status)
}

// earlyEnd says why an app ended before it was ready: its port may have been taken
// just before it wanted it.
func (s *supervisor) earlyEnd(status syscall.WaitStatus) *ingress.Refusal {
	var refusal *ingress.Refusal
	if s.o.listen.own && errors.As(s.o.listen.checkOwner(), &refusal) {
		return refusal
	}
	if s.outOfMemory() {
		return noMemory()
	}
	return &ingress.Refusal{Class: ingress.ClassExited, Text: describe(status) + " before it accepted a connection"}
}

// outOfMemory reports whether the kernel has killed something of the app for want of
// memory.
func (s *supervisor) outOfMemory() bool { return s.cg != nil && s.cg.outOfMemory() }

func noMemory() *ingress.Refusal {
	return &ingress.Refusal{Class: ingress.ClassMemory, Text: "out of memory before it accepted a connection"}
}

// drain answers those who rang before ten-init could serve, then returns.
func (s *supervisor) drain(doorbell *net.UnixListener) {
	for end := time.Now().Add(lingerTime); ; {
		_ = doorbell.SetDeadline(time.Now().Add(drainTime))
		s.accept(doorbell)
		// On a busy machine the deadline may have passed before anybody was taken.
		if !rung(doorbell) || time.Now().After(end) {
			break
		}
	}
	s.linger()
}

// linger waits for calls to be answered.
func (s *supervisor) linger() {
	done := make(chan struct{})
	go func() {
		s.calls.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(lingerTime):
	}
}
