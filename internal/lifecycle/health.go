package lifecycle

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

// healthInterval is the pause between two looks at the health of an instance that
// wakes; constant, since every request for it waits.
const healthInterval = 10 * time.Millisecond

// awaitHealthy asks the health endpoint until it answers 200 or the instance's
// startup timeout is over. The error is of the last answer.
func (m *Manager) awaitHealthy(ctx context.Context, inst *instance, service *config.Service) error {
	ctx, cancel := context.WithTimeout(ctx, service.StartupTimeout)
	defer cancel()
	timer := time.NewTimer(healthInterval)
	defer timer.Stop()
	var last error
	for {
		err := m.checkHealth(ctx, inst, service.Health)
		if err == nil || isRefusal(err) {
			return err
		}
		// What the end of the wait has cut short says nothing of the app.
		var timeout net.Error
		if last == nil || !errors.As(err, &timeout) || !timeout.Timeout() {
			last = err
		}
		timer.Reset(healthInterval)
		select {
		case <-ctx.Done():
			if m.ctx.Err() != nil {
				return m.ctx.Err()
			}
			return &tenant.Error{
				Code: tenant.CodeStartTimeout, Op: "start", ID: inst.id, Err: last,
				Msg:  fmt.Sprintf("health endpoint %s did not answer 200 within %v (%v)", service.Health, service.StartupTimeout, last),
				Hint: fmt.Sprintf("`ten logs %s` shows what it said", inst.id),
			}
		case <-timer.C:
		}
	}
}

// checkHealth makes one request on a connection of its own, which is closed after
// it: an app may serve one connection at a time.
func (m *Manager) checkHealth(ctx context.Context, inst *instance, path string) error {
	conn, err := m.connect(ctx, inst)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	req.Header.Set("User-Agent", "tenement-health")
	req.Close = true
	if err := req.Write(conn); err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	// A few kilobytes are enough for the head; a tenant's answer must not fill memory.
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, 64<<10)), req)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// unhealthy stops an instance that started but never became healthy.
func (m *Manager) unhealthy(inst *instance, service *config.Service, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), service.StopGrace+slack)
	defer cancel()
	if m.ctx.Err() == nil {
		if err := m.controller.Stop(ctx, inst.id); err != nil {
			m.log.Error("unhealthy instance not stopped", "instance", inst.id, "err", err)
		}
	}
	return m.startError(inst, service, cause)
}
