package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"tenement.dev/internal/config"
	"tenement.dev/internal/event"
	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// slack is what a wake may take beyond the app's startup_timeout: the manager's own
// work, which a daemon-reload with thousands of units can hold up for many seconds.
const slack = 30 * time.Second

// startPatience bounds a start, in which a stop that is still going on may come first.
func startPatience(service *config.Service) time.Duration {
	return service.StartupTimeout + service.StopGrace + slack
}

// Rings are repeated when the process behind the doorbell goes away, and units loaded
// again when the doorbell is gone or their port taken, at most this often.
const (
	maxRings = 5
	maxLoads = 5
)

// beginWakeLocked begins a wake from any state that has no operation.
func (m *Manager) beginWakeLocked(inst *instance, p tenant.Priority, asked time.Time) *operation {
	op := inst.beginLocked(true)
	op.becomes, op.priority = tenant.Awake, p
	from, reason := inst.state, inst.reason
	inst.before = nil
	if from != tenant.Dozing {
		op.ticket = m.gate.Enter(inst.id.Service, p)
	}
	inst.setLocked(tenant.Waking, asked, "")
	m.tasks.do(func() { m.wake(inst, op, from, reason, asked) })
	return op
}

// wake runs the operation op.
func (m *Manager) wake(inst *instance, op *operation, from tenant.State, reason string, asked time.Time) {
	w := &tenant.Wake{Kind: tenant.WakeCold, At: asked, Queue: time.Since(asked)}
	var spare net.Conn
	var err error
	if from == tenant.Dozing {
		w.Kind = tenant.WakeDoze
		spare, err = m.thaw(inst, op, w)
		if errors.Is(err, errToldToStop) {
			m.notThawed(inst, op)
			return
		}
		if err != nil && m.ctx.Err() == nil {
			// It died in its sleep, which the request need not notice.
			m.log.Warn("thaw failed, starting anew", "instance", inst.id, "err", err)
			*w = tenant.Wake{Kind: tenant.WakeCold, At: asked}
			spare, err = m.coldStart(inst, op, w)
		}
	} else {
		spare, err = m.coldStart(inst, op, w)
	}
	w.Total = time.Since(asked)
	if neverBegun(err) {
		m.notBegun(inst, op, w, from, reason, err)
		return
	}
	m.endWake(inst, op, w, spare, err)
}

// coldStart starts the instance when it is its turn.
func (m *Manager) coldStart(inst *instance, op *operation, w *tenant.Wake) (net.Conn, error) {
	leave, err := m.takePlace(inst, op)
	if err != nil {
		return nil, err
	}
	defer leave()
	w.Queue = time.Since(w.At)
	ctx, cancel := context.WithCancelCause(m.ctx)
	defer cancel(nil)
	inst.mu.Lock()
	if op.forced {
		inst.restForGoodLocked()
	}
	op.endByLocked(cancel)
	inst.useLocked().begunLocked()
	inst.mu.Unlock()
	m.awakeAgain(inst)
	if err := m.admitStorage(inst); err != nil {
		return nil, err
	}
	conn, err := m.start(ctx, inst, w)
	if err != nil && ctx.Err() == nil && m.fallBack(inst, err) {
		conn, err = m.start(ctx, inst, w)
	}
	if err != nil && errors.Is(context.Cause(ctx), errToldToStop) {
		return nil, startEnded(inst.id)
	}
	return conn, err
}

// notBegun ends a wake that did not begin: the instance is as it was, also what it has
// to wait for.
func (m *Manager) notBegun(inst *instance, op *operation, w *tenant.Wake, from tenant.State, reason string, err error) {
	if from != tenant.Failed {
		from = tenant.Asleep // it may have died dozing
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if op.yields {
		err = yielded(inst.id)
	}
	now := time.Now()
	inst.setLocked(from, now, reason)
	m.observer.WakeFailed(inst.id, tenant.CodeOf(err))
	m.tellBy(op.actor, event.WakeWithdrawn, inst.id, slog.Duration("queue", w.Total), slog.String("reason", reasonOf(err)))
	m.endLocked(inst, op, err)
	if m.ctx.Err() != nil || inst.removed {
		return
	}
	m.settledLocked(inst, now, fate{state: from, reason: reason})
	if inst.reviving {
		m.awaitRevivalLocked(inst, now)
	}
}

// startFailed is why an instance rests whose latest start has failed.
const startFailed = "its start failed"

// endWake enters the state that the wake has led to. spare is nil beside an error.
func (m *Manager) endWake(inst *instance, op *operation, w *tenant.Wake, spare net.Conn, err error) {
	now := time.Now()
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if err == nil {
		op.woke = w
		w.Cause = inst.wokenBy
		inst.lastWake = w
		inst.brake.made.release()
		if op.forced {
			inst.brake.made.reset()
		}
		inst.reviving = false
		inst.unit.own().unasked = 0
		if w.Kind == tenant.WakeDoze {
			inst.thaws++
		} else {
			inst.wakes++
			inst.cannotDoze = false // of this process nothing is known
		}
		inst.changedLocked()
		inst.setLocked(tenant.Awake, now, "")
		inst.process.own().spare = spare
		if inst.requests == 0 {
			inst.dropSpareLocked()
		}
		inst.activeLocked(now)
		inst.storage.own().unseen = true
		m.watchIdleLocked(inst)
		m.paceLocked(inst, op.waiters)
		m.tuneLocked(inst)
		m.observer.Woke(inst.id, w)
		m.tellBy(op.actor, event.Woke, inst.id, phasesOf(w)...)
		m.endLocked(inst, op, nil)
		return
	}
	f := fate{state: tenant.Asleep, reason: reasonOf(err), revive: inst.reviving && !m.isPaused(inst.id)}
	switch {
	case m.ctx.Err() != nil, errors.Is(err, errOverQuota), errors.Is(err, tenant.ErrNoPort): // that is no failure of the app
		f.revive = false
	case errors.Is(err, errToldToStop):
		f = fate{state: tenant.Asleep, rested: "told to stop while it started"}
	case tenant.CodeOf(err) == tenant.CodeUnsupported, tenant.CodeOf(err) == tenant.CodeConflict:
		// Trying again will not help, but costs nothing.
		f.revive = false
	default:
		m.saveSoon()
		inst.changedLocked()
		if inst.brake.own().fail(now, m.config.Load().Settings) {
			f.state, f.revive = tenant.Failed, false
		}
	}
	inst.reviving = false
	inst.rested = cmp.Or(f.rested, startFailed)
	m.observer.WakeFailed(inst.id, tenant.CodeOf(err))
	m.log.Log(m.ctx, inst.failureLevelLocked(err), "wake failed", "instance", inst.id, "kind", string(w.Kind), "dur", w.Total, "state", f.state.String(), "err", err)
	m.tellBy(op.actor, event.WakeFailed, inst.id, slog.String("kind", string(w.Kind)), slog.Duration("dur", w.Total),
		slog.String("code", string(tenant.CodeOf(err))), slog.String("reason", f.reason))
	inst.setLocked(f.state, now, f.reason)
	m.endLocked(inst, op, err)
	m.settledLocked(inst, now, f)
}

// reasonOf is the part of an error that people may see.
func reasonOf(err error) string {
	var e *tenant.Error
	if errors.As(err, &e) {
		return e.Msg
	}
	return "internal error"
}

// thaw wakes a dozing instance. The connection is for the request that wakes it.
// errToldToStop is in the chain of the error where somebody has ended the attempt.
func (m *Manager) thaw(inst *instance, op *operation, w *tenant.Wake) (net.Conn, error) {
	told, tell := context.WithCancelCause(m.ctx)
	defer tell(nil)
	inst.mu.Lock()
	op.endByLocked(tell)
	inst.mu.Unlock()
	ctx, cancel := context.WithTimeout(told, slack)
	defer cancel()
	begun := time.Now()
	conn, answer, err := m.doorbell(inst.id).Connect(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errToldToStop) {
		return nil, errToldToStop
	}
	if err != nil {
		return nil, err
	}
	w.AppReady = time.Since(begun)
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if answer.InitAt != inst.startedAt {
		conn.Close()
		return nil, errAnother // the doorbell has started another one: that is a cold start
	}
	return conn, nil
}

// start loads the units where they are not, rings, and waits for the app to be
// healthy. The connection is one to the app that nobody has used yet, or nil.
func (m *Manager) start(ctx context.Context, inst *instance, w *tenant.Wake) (net.Conn, error) {
	cfg := m.config.Load()
	service, err := m.service("wake", inst.id)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience(service))
	defer cancel()
	loading, done := context.WithTimeout(m.ctx, startPatience(service)) // that is not left halfway
	defer done()
	var conn net.Conn
	for range maxLoads {
		begun := time.Now()
		err := m.load(loading, inst, cfg)
		for errors.Is(err, tenant.ErrNoPort) && m.takePortBack(loading) {
			err = m.load(loading, inst, cfg)
		}
		if err != nil {
			return nil, err
		}
		w.Load += time.Since(begun)
		w.Kind = tenant.WakeCold
		if m.takeArmed(inst) {
			w.Kind = tenant.WakeArmed
		}
		if conn, err = m.ring(ctx, inst, w); err == nil {
			break
		}
		if !loadAgain(err) {
			return nil, m.startError(inst, service, err)
		}
		m.log.Warn("loading again", "instance", inst.id, "err", err)
		if err := m.unload(loading, inst); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, m.startError(inst, service, err)
	}
	return m.becomeHealthy(ctx, inst, service, w, conn)
}

// ring rings the doorbell until the app is ready, and fills in the phases. The
// connection is the one that proved it.
func (m *Manager) ring(ctx context.Context, inst *instance, w *tenant.Wake) (net.Conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := m.watchFailure(ctx, inst, cancel)
	defer stop()
	var err error
	begun := ingress.Monotonic()
	for range maxRings {
		rung, at := ingress.Monotonic(), time.Now()
		var conn net.Conn
		var answer ingress.Answer
		conn, answer, err = m.doorbell(inst.id).Connect(ctx)
		if err == nil {
			w.UnitStart, w.AppReady = phases(rung, answer, time.Since(at))
			if w.Kind == tenant.WakeArmed && answer.InitAt > begun {
				w.Kind = tenant.WakeCold // what was armed has gone meanwhile
			}
			inst.mu.Lock()
			inst.startedAt = answer.InitAt
			inst.mu.Unlock()
			return conn, nil
		}
		if !ringAgain(err) {
			return nil, err
		}
	}
	return nil, err
}

// phases splits the wait for the doorbell's answer. What the answer says is the
// tenant's word, so it is held within what was measured.
func phases(rung int64, a ingress.Answer, waited time.Duration) (unitStart, appReady time.Duration) {
	unitStart = min(max(time.Duration(a.InitAt-rung), 0), waited)
	return unitStart, waited - unitStart
}

// ringAgain reports whether the one who answered the doorbell was on its way out.
func ringAgain(err error) bool {
	var refusal *ingress.Refusal
	if errors.As(err, &refusal) {
		return refusal.Class == ingress.ClassGone
	}
	return errors.Is(err, ingress.ErrHungUp)
}

// loadAgain reports whether a start failed for want of a doorbell, or of a port that
// nobody else listens on; both are there when the units are loaded again.
func loadAgain(err error) bool {
	var refusal *ingress.Refusal
	return errors.Is(err, ingress.ErrNoDoorbell) || errors.As(err, &refusal) && refusal.Class == ingress.ClassPortTaken
}

// startError says why a start failed and leaves no half-started unit behind.
func (m *Manager) startError(inst *instance, service *config.Service, cause error) error {
	if !isRefusal(cause) && m.ctx.Err() == nil {
		// With an answer the call has been taken from the doorbell; this one still
		// waits there and would start the unit again and again.
		ctx, cancel := context.WithTimeout(m.ctx, service.StopGrace+slack)
		defer cancel()
		if err := m.unload(ctx, inst); err != nil {
			m.log.Error("unit not unloaded", "instance", inst.id, "err", err)
		}
	}
	inst.mu.Lock()
	inst.unit.own().fingerprint = "" // the next start is from clean units
	inst.mu.Unlock()
	return explainStart(inst.id, service, cause)
}

func isRefusal(err error) bool {
	var refusal *ingress.Refusal
	return errors.As(err, &refusal)
}

// explainStart puts the failure of a start in words.
func explainStart(id tenant.ID, service *config.Service, cause error) error {
	e := &tenant.Error{
		Code: tenant.CodeStartFailed, Op: "start", ID: id, Err: cause,
		Hint: fmt.Sprintf("`ten logs %s` shows what it said", id),
	}
	var refusal *ingress.Refusal
	var failure *unitFailure
	var known *tenant.Error
	switch {
	case errors.As(cause, &known):
		return cause
	case errors.As(cause, &refusal):
		explainRefusal(e, service, refusal)
	case errors.As(cause, &failure) && outOfMemory(failure.exit):
		explainMemory(e, service)
	case errors.As(cause, &failure):
		e.Msg = "systemd could not start it: " + describeExit(failure.exit)
		e.Hint = fmt.Sprintf("`journalctl -u %s` shows why", units.ServiceName(id))
	case errors.Is(cause, context.DeadlineExceeded):
		e.Code = tenant.CodeStartTimeout
		e.Msg = fmt.Sprintf("no answer within %v", startPatience(service))
	default:
		e.Msg = "its doorbell did not answer"
	}
	return e
}

func explainMemory(e *tenant.Error, service *config.Service) {
	e.Msg = "the app ended: out of memory (oom-kill) before it accepted a connection"
	e.Hint = "the machine is short of memory; `free -m` shows how much there is"
	if limit := service.Limits[tenant.LimitMemory]; limit > 0 {
		e.Hint = fmt.Sprintf("memory_limit_mb of service %s is %d", service.Name, limit>>20)
	}
}

// listenPlace says where an app has to await requests.
func listenPlace(l tenant.Listen) string {
	switch l {
	case tenant.ListenUnix:
		return "at the Unix socket $SOCKET_PATH"
	case tenant.ListenFD:
		return "on descriptor 3, which it is given (sd_listen_fds(3))"
	default:
		return "at 127.0.0.1:$PORT, and at no port of its own choice"
	}
}

func explainRefusal(e *tenant.Error, service *config.Service, refusal *ingress.Refusal) {
	e.Msg = refusal.Text
	e.Err = nil // it is all said
	switch refusal.Class {
	case ingress.ClassExec:
		e.Msg = "the app could not be executed: " + refusal.Text
	case ingress.ClassExited:
		e.Msg = "the app ended with " + refusal.Text
	case ingress.ClassMemory:
		explainMemory(e, service)
	case ingress.ClassTimeout:
		e.Code = tenant.CodeStartTimeout
		e.Hint = fmt.Sprintf("it must listen %s; startup_timeout of service %s is %v",
			listenPlace(service.Listen), service.Name, service.StartupTimeout)
	}
}
