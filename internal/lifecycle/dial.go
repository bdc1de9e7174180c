package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net"

	"tenement.dev/internal/ingress"
)

// dial connects to the app of an awake instance. Should the app have died a moment
// ago, the doorbell has the next one started; should the doorbell be gone, the
// instance is looked at again and woken properly.
func (m *Manager) dial(ctx context.Context, inst *instance) (net.Conn, error) {
	inst.mu.Lock()
	spare := inst.spare
	inst.spare = nil
	inst.mu.Unlock()
	if spare != nil {
		return spare, nil
	}
	service, err := m.service("connect", inst.id)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, service.StartupTimeout+slack)
	defer cancel()
	conn, err := m.connect(bounded, inst)
	if errors.Is(err, ingress.ErrNoDoorbell) {
		m.look(bounded, inst)
		if _, err := m.awaken(bounded, inst, false); err != nil {
			return nil, err
		}
		conn, err = m.connect(bounded, inst)
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
