package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
)

// errAnother says that the process which was woken is not there any more.
var errAnother = tenant.ErrProcessEnded

// dial connects to the process that l was admitted to. Should it have died a moment
// ago, the instance is woken again, as any other that sleeps.
func (m *Manager) dial(ctx context.Context, l *lease) (net.Conn, error) {
	inst := l.inst
	l.mu.Lock()
	startedAt := l.startedAt
	l.mu.Unlock()
	inst.mu.Lock()
	var spare net.Conn
	if p := inst.process.made; p != nil && inst.startedAt == startedAt { // or it is one to the next process
		spare, p.spare = p.spare, nil
	}
	inst.mu.Unlock()
	if spare != nil {
		return spare, nil
	}
	service, err := m.service("connect", inst.id)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, startPatience(service))
	defer cancel()
	var conn net.Conn
	for range maxRings {
		if conn, err = m.connectSame(bounded, l); !errors.Is(err, errAnother) {
			break
		}
		if tenant.SameProcess(ctx) {
			return nil, fmt.Errorf("connect %s: %w", inst.id, err)
		}
		if err := m.readmit(bounded, l); err != nil {
			return nil, err
		}
	}
	var refusal *ingress.Refusal
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, leave(ctx, inst.id)
	case errors.As(err, &refusal) && refusal.Class == ingress.ClassRefused:
		return nil, fmt.Errorf("connect %s: %w", inst.id, err)
	default:
		return nil, explainStart(inst.id, service, err)
	}
}

// connectSame connects to the process that l was admitted to, also while that is being
// drained. If it has gone, whether or not the doorbell has started the next one
// meanwhile, the error is errAnother; whoever notices first sees to what follows.
func (m *Manager) connectSame(ctx context.Context, l *lease) (net.Conn, error) {
	inst := l.inst
	l.mu.Lock()
	startedAt := l.startedAt
	l.mu.Unlock()
	inst.mu.Lock()
	for inst.op != nil && inst.op.same {
		op := inst.op
		inst.mu.Unlock()
		select {
		case <-op.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		inst.mu.Lock()
	}
	generation := inst.generation
	serves := inst.startedAt == startedAt && (inst.op == nil && inst.state == tenant.Awake || inst.draining)
	inst.mu.Unlock()
	if !serves {
		return nil, errAnother
	}
	conn, answer, err := m.doorbell(inst.id).Connect(ctx)
	if err == nil && answer.InitAt == startedAt {
		return conn, nil
	}
	if err == nil {
		conn.Close()
	} else if !ringAgain(err) && !errors.Is(err, ingress.ErrNoDoorbell) {
		return nil, err
	}
	l.mu.Lock()
	wanted := l.wakes() && !l.released && !tenant.SameProcess(ctx)
	l.mu.Unlock()
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if inst.generation == generation && inst.op == nil && inst.state == tenant.Awake && !inst.removed {
		if err != nil {
			inst.unit.own().fingerprint = "" // clean units: that it has failed is to be news to the wake
		}
		m.noticedLocked(inst, time.Now(), wanted)
	}
	return nil, errAnother
}

// connect asks the doorbell for a connection, again if the one who answered was on
// its way out.
func (m *Manager) connect(ctx context.Context, inst *instance) (conn net.Conn, err error) {
	for range maxRings {
		conn, _, err = m.doorbell(inst.id).Connect(ctx)
		if err == nil || !ringAgain(err) {
			return conn, err
		}
	}
	return nil, err
}
