package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"tenement.dev/internal/admission"
	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

// Acquire counts a request in and has the instance awake: it joins a wake or begins
// one. release counts the request out and must be called exactly once, after the
// response's body; it is nil beside an error. An unknown instance is a *tenant.Error
// with CodeNotFound, unless its service creates instances on demand. A visit of a kind
// that the service does not wake for gets a *tenant.Unwoken where the instance rests.
func (m *Manager) Acquire(ctx context.Context, id tenant.ID, v tenant.Visit) (tenant.Endpoint, func(), error) {
	if err := m.awaitReady(ctx, "wake", id); err != nil {
		return nil, nil, err
	}
	inst, ok := m.lookup(id)
	created := false
	if !ok {
		var err error
		if inst, created, err = m.onDemand(ctx, id, v); err != nil {
			return nil, nil, err
		}
	}
	service, err := m.service("wake", id)
	if err != nil {
		return nil, nil, err
	}
	lease, err := m.join(ctx, inst, service, v)
	if err != nil {
		if created {
			m.undo(ctx, inst, err)
		}
		return nil, nil, err
	}
	return lease, lease.release, nil
}

// onDemand creates an instance that a request has asked for, where its service
// allows that, and the visit is worth it.
func (m *Manager) onDemand(ctx context.Context, id tenant.ID, v tenant.Visit) (inst *instance, created bool, err error) {
	service, ok := m.config.Load().Services[id.Service]
	if !ok || !service.OnDemand || v.Kinds&service.NoWake != 0 {
		return nil, false, tenant.NoInstance("wake", id)
	}
	if err := m.pausedError(id); err != nil {
		return nil, false, err
	}
	inst, created, err = m.register(ctx, id, service.MaxInstances, tenant.Weight{})
	return inst, created, err
}

// join counts the request in and waits until the instance is awake.
func (m *Manager) join(ctx context.Context, inst *instance, service *config.Service, v tenant.Visit) (*lease, error) {
	if err := m.pausedError(inst.id); err != nil {
		return nil, err
	}
	l := &lease{manager: m, inst: inst, service: service, priority: v.Priority}
	inst.mu.Lock()
	if err := m.unwokenLocked(inst, service, v); err != nil {
		inst.mu.Unlock()
		return nil, err
	}
	if inst.requests+inst.streams >= service.MaxInFlight {
		inst.mu.Unlock()
		return nil, &tenant.Error{
			Code: tenant.CodeUnavailable, Op: "acquire", ID: inst.id,
			Msg:  fmt.Sprintf("%s has %d requests in flight already", inst.id, service.MaxInFlight),
			Hint: "is it stuck, or does it answer through its own host name? max_in_flight allows more",
		}
	}
	inst.requests++
	if v.Kinds&service.NoWake != 0 && inst.op == nil && inst.state == tenant.Awake {
		l.quiet = true // what does not wake an instance does not keep it awake
		inst.admitLocked(l)
		inst.mu.Unlock()
		return l, nil
	}
	inst.mu.Unlock()
	var err error
	if l.woke, err = m.admit(ctx, l); err != nil {
		m.countOut(inst, false)
		return nil, err
	}
	return l, nil
}

// awaken waits until the instance is awake, waking it if need be. The timing is of
// the wake that was waited for, nil if there was none. With force it starts whatever
// the brake says, which forgets failures if that succeeds. The caller has counted itself in.
func (m *Manager) awaken(ctx context.Context, inst *instance, p tenant.Priority, force bool) (*tenant.Wake, error) {
	asked := time.Now()
	held, rank := false, p
	if force {
		rank = tenant.PriorityOperator // there is always room for it, whenever its turn is
	}
	defer func() {
		if held {
			m.hall.Leave(inst.id.Service)
		}
	}()
	for {
		inst.mu.Lock()
		if inst.removed {
			inst.mu.Unlock()
			return nil, tenant.NoInstance("wake", inst.id)
		}
		op := inst.op
		var pause <-chan struct{} // before a restart
		if op == nil {
			if inst.state == tenant.Awake {
				inst.activeLocked(asked)
				inst.mu.Unlock()
				return nil, nil
			}
			if !force {
				pause = inst.heldLocked(time.Now())
			}
			if !force && pause == nil {
				if err := m.brakedLocked(inst, asked); err != nil {
					inst.mu.Unlock()
					return nil, err
				}
			}
		}
		if !held && !m.hall.Enter(inst.id.Service, rank) {
			inst.mu.Unlock()
			return nil, m.hallFull(inst.id)
		}
		held = true
		if pause != nil {
			inst.mu.Unlock()
			select {
			case <-pause:
			case <-ctx.Done():
				return nil, leave(ctx, inst.id)
			case <-m.ctx.Done(): // it is not started any more
				return nil, leave(m.ctx, inst.id)
			}
			continue
		}
		if op == nil {
			inst.wokenLocked(tenant.CauseOf(ctx, tenant.CauseRequest("")), asked)
			if force && inst.state == tenant.Dozing {
				inst.restForGoodLocked() // it begins at once
			}
			op = m.beginWakeLocked(inst, p, asked)
			op.forced, op.actor = force, tenant.ActorOf(ctx)
		}
		op.joinLocked(p)
		inst.mu.Unlock()
		select {
		case <-op.done:
		case <-ctx.Done():
			op.abandon(inst)
			return nil, leave(ctx, inst.id)
		}
		switch {
		case !op.wake || errors.Is(op.err, admission.ErrWithdrawn):
		case op.err != nil:
			return nil, op.err
		default:
			return op.woke, m.awaitTurn(ctx, inst)
		}
	}
}

// failedRetry is when visitors of an instance that has failed are told to come again: it takes
// a person to change that.
const failedRetry = 5 * time.Minute

// brakedLocked is the answer to a request for an instance that must not be started
// now, or nil.
func (m *Manager) brakedLocked(inst *instance, now time.Time) error {
	switch {
	case inst.state == tenant.Dozing:
		return nil
	case inst.brake.get().spent:
		return &tenant.Error{
			Code: tenant.CodeFailed, Op: "wake", ID: inst.id,
			Msg:        fmt.Sprintf("%s has failed: %s", inst.id, inst.reason),
			Hint:       fmt.Sprintf("`ten logs %s` shows what it said; `ten restart %s` tries again", inst.id, inst.id),
			RetryAfter: failedRetry,
		}
	case now.Before(inst.brake.get().until):
		return &tenant.Error{
			Code: tenant.CodeUnavailable, Op: "wake", ID: inst.id,
			Msg:        fmt.Sprintf("%s has failed: %s; the next try is in %v", inst.id, inst.reason, inst.brake.get().until.Sub(now).Round(100*time.Millisecond)),
			Hint:       fmt.Sprintf("`ten logs %s` shows what it said; `ten restart %s` tries at once", inst.id, inst.id),
			RetryAfter: inst.brake.get().until.Sub(now),
		}
	}
	return nil
}

// leave is the error of a request whose client has gone.
func leave(ctx context.Context, id tenant.ID) error {
	return &tenant.Error{
		Code: tenant.CodeUnavailable, Op: "wake", ID: id,
		Msg: "the request ended before the instance was awake", Err: context.Cause(ctx),
	}
}

// countOut ends a request or a stream.
func (m *Manager) countOut(inst *instance, stream bool) {
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if stream {
		inst.streams--
		return
	}
	inst.requests--
	if inst.requests == 0 {
		inst.dropSpareLocked()
	}
	inst.activeLocked(time.Now())
	if p := inst.process.get().pacer; p != nil {
		p.releaseLocked(paceGain)
	}
}

// lease is one request's hold on an instance. It implements tenant.Endpoint.
type lease struct {
	manager *Manager
	inst    *instance
	service *config.Service
	woke    *tenant.Wake
	// config is what service was found in, and over is release: both are for one that may
	// be used again, nil for others.
	config *config.Config
	over   func()
	// priority is the request's; quiet says that it does not count as activity.
	priority tenant.Priority
	quiet    bool

	// mu guards what follows; it comes before the instance's.
	mu       sync.Mutex
	stream   bool
	released bool
	// admitted: it is among those that the process served which began at startedAt and
	// whose end ending announces.
	admitted  bool
	startedAt int64
	ending    <-chan struct{}
}

func (l *lease) Dial(ctx context.Context) (net.Conn, error) {
	l.mu.Lock()
	released := l.released
	l.mu.Unlock()
	if released {
		// Nobody is counted in any more, so the instance may rest.
		return nil, fmt.Errorf("connect %s: the request has ended", l.inst.id)
	}
	return l.manager.dial(ctx, l)
}

// wakes reports whether the request is one for which an instance is woken, and which
// counts as activity. l.mu must be held.
func (l *lease) wakes() bool { return !l.quiet || l.stream }

func (l *lease) Generation() uint64 {
	l.inst.mu.Lock()
	defer l.inst.mu.Unlock()
	return l.inst.generation
}

func (l *lease) Woke() *tenant.Wake { return l.woke }

func (l *lease) RequestTimeout() time.Duration { return l.service.RequestTimeout }

func (l *lease) KeepAlive() bool { return l.service.KeepAlive }

func (l *lease) Port() int {
	switch {
	case l.service.Listen != tenant.ListenPort:
		return 0
	case l.service.Network == tenant.NetworkPrivate:
		return privatePort
	}
	return l.inst.portNow()
}

// Stream turns the request into a stream; see tenant.Endpoint.
func (l *lease) Stream() (touch func(context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stream && !l.released {
		l.stream = true
		l.inst.mu.Lock()
		l.inst.requests--
		l.inst.streams++
		l.inst.trafficLocked(time.Now())
		l.inst.mu.Unlock()
	}
	return l.touch
}

// touch notes a stream's traffic. A dozing instance is woken; one that has ended
// since is not started for it, since its connection is gone.
func (l *lease) touch(ctx context.Context) error {
	inst := l.inst
	inst.mu.Lock()
	inst.trafficLocked(time.Now())
	dozing := inst.state == tenant.Dozing
	inst.mu.Unlock()
	if !dozing {
		return nil
	}
	// There must be room for it: it is under way already.
	_, err := l.manager.awaken(tenant.WithCause(ctx, tenant.CauseTraffic), inst, tenant.PriorityOperator, false)
	return err
}

func (l *lease) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released {
		return
	}
	l.released = true
	l.dismissLocked()
	if !l.wakes() {
		l.manager.passOut(l.inst)
		return
	}
	l.manager.countOut(l.inst, l.stream)
}
