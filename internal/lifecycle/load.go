package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

// privatePort is the port of instances with a network of their own, where nobody
// else wants it.
const privatePort = 8080

// load makes the service manager know the instance as cfg has it, if it does not.
// Only the instance's operation may call it.
func (m *Manager) load(ctx context.Context, inst *instance, cfg *config.Config) error {
	inst.mu.Lock()
	inst.runsWithLocked(m.releaseLocked(inst, cfg)) // also where there is no way to run it
	inst.mu.Unlock()
	spec, err := m.specOf(ctx, inst, cfg)
	if err != nil {
		return err
	}
	fingerprint := spec.Fingerprint()
	inst.mu.Lock()
	inst.runsWithLocked(spec.Release)
	loaded, same := inst.loaded, inst.unit.get().fingerprint == fingerprint
	inst.mu.Unlock()
	if loaded && same {
		return nil
	}
	if loaded {
		if err := m.controller.Unload(ctx, inst.id); err != nil {
			return fmt.Errorf("unload %s: %w", inst.id, err)
		}
		m.takeArmed(inst)
	}
	err = m.controller.Load(ctx, spec)
	inst.mu.Lock()
	inst.loaded = err == nil
	inst.unit.own().fingerprint = fingerprint
	m.loadedLocked(inst, spec.Limits)
	inst.mu.Unlock()
	if err != nil {
		return loadError(inst.id, err)
	}
	return nil
}

// specOf says what the instance is to be loaded as. Only its operation may call it, unless
// it is loaded.
func (m *Manager) specOf(ctx context.Context, inst *instance, cfg *config.Config) (tenant.Spec, error) {
	port, err := m.takePort(ctx, inst, cfg)
	if err != nil {
		return tenant.Spec{}, err
	}
	inst.mu.Lock()
	own, release := inst.limits.get().own, m.releaseLocked(inst, cfg)
	inst.mu.Unlock()
	return cfg.Spec(inst.id, config.Placement{Port: port, SocketDir: m.socketDir(inst.id), Limits: own, Release: release, Secrets: m.secretsOf(inst.id)})
}

// loadError leaves errors for people as they are, which say all this themselves.
func loadError(id tenant.ID, err error) error {
	var known *tenant.Error
	if errors.As(err, &known) {
		return err
	}
	return &tenant.Error{
		Code: tenant.CodeUnavailable, Op: "load", ID: id, Err: err,
		Msg:  "systemd did not take its units",
		Hint: "the daemon's log says why; is systemd busy (`systemctl list-jobs`), or /run full (`ten doctor`)?",
	}
}

// unload makes the service manager forget the instance, and gives its port back.
// Only the instance's operation may call it.
func (m *Manager) unload(ctx context.Context, inst *instance) error {
	if err := m.unloadUnits(ctx, inst); err != nil {
		return err
	}
	if inst.portNow() == 0 {
		return nil
	}
	// The registry first: once the port is free here somebody else may register it.
	if err := m.store.SetPort(ctx, inst.id, 0); err != nil {
		return fmt.Errorf("give back port of %s: %w", inst.id, err)
	}
	m.freePortOf(inst)
	return nil
}

// unloadUnits is unload of an instance that keeps its port.
func (m *Manager) unloadUnits(ctx context.Context, inst *instance) error {
	if err := m.controller.Unload(ctx, inst.id); err != nil {
		return fmt.Errorf("unload %s: %w", inst.id, err)
	}
	m.takeArmed(inst)
	inst.mu.Lock()
	inst.loaded, inst.unit.own().fingerprint = false, ""
	inst.mu.Unlock()
	m.awakeAgain(inst)
	return nil
}

// freePortOf lets others have the port of an instance, where it has one.
func (m *Manager) freePortOf(inst *instance) {
	inst.mu.Lock()
	port := inst.port
	inst.port = 0
	inst.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if port != 0 && m.ports[port] == inst.id {
		delete(m.ports, port)
	}
}

func (i *instance) portNow() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.port
}

// soon is do for who has no bound of his own: unload, or unloadUnits.
func (m *Manager) soon(inst *instance, do func(context.Context, *instance) error) error {
	ctx, cancel := context.WithTimeout(m.ctx, m.stopGrace(inst)+slack)
	defer cancel()
	return do(ctx, inst)
}

// takePort gives the port for the instance to listen on, 0 where it needs none, and
// remembers it.
func (m *Manager) takePort(ctx context.Context, inst *instance, cfg *config.Config) (int, error) {
	service, ok := cfg.Services[inst.id.Service]
	if !ok || service.Listen != tenant.ListenPort {
		return 0, nil
	}
	if service.Network == tenant.NetworkPrivate {
		return privatePort, nil
	}
	inst.mu.Lock()
	port := inst.port
	inst.mu.Unlock()
	if port != 0 {
		return port, nil
	}
	port, err := m.freePort(inst.id, cfg.Settings)
	if err != nil {
		return 0, err
	}
	if err := m.store.SetPort(ctx, inst.id, port); err != nil {
		m.mu.Lock()
		delete(m.ports, port)
		m.mu.Unlock()
		return 0, fmt.Errorf("take port for %s: %w", inst.id, err)
	}
	inst.mu.Lock()
	inst.port = port
	inst.mu.Unlock()
	return port, nil
}

// freePort reserves a port that no instance has and nobody listens on. It goes round
// the range, so that a port which turned out to be taken is not tried again next.
func (m *Manager) freePort(id tenant.ID, s config.Settings) (int, error) {
	size := s.PortMax - s.PortMin + 1
	for range size {
		m.mu.Lock()
		if m.nextPort < s.PortMin || m.nextPort > s.PortMax {
			m.nextPort = s.PortMin
		}
		port := m.nextPort
		m.nextPort++
		_, taken := m.ports[port]
		if !taken {
			m.ports[port] = id
		}
		m.mu.Unlock()
		if taken {
			continue
		}
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			l.Close()
			return port, nil
		}
		m.mu.Lock()
		delete(m.ports, port)
		m.mu.Unlock()
	}
	return 0, &tenant.Error{
		Code: tenant.CodeLimit, Op: "take port", ID: id, Err: tenant.ErrNoPort,
		Msg:  fmt.Sprintf("all %d ports from %d to %d are in use", size, s.PortMin, s.PortMax),
		Hint: `widen port_range, or use listen = "unix" or network = "private", which need none`,
	}
}
