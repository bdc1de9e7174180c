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
	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
)

// healthInterval is the pause between two looks at the health of an instance that
// wakes; constant, since every request for it waits.
const healthInterval = 10 * time.Millisecond

// maxHealthAnswer is how much of an answer is read, in bytes: a tenant's must not fill
// memory.
const maxHealthAnswer = 64 << 10

// becomeHealthy waits until the app that answers on conn is healthy, where its service
// says how that is seen. The connection is one that nobody has used yet, or nil.
func (m *Manager) becomeHealthy(ctx context.Context, inst *instance, service *config.Service, w *tenant.Wake, conn net.Conn) (net.Conn, error) {
	if service.Health == "" {
		return conn, nil
	}
	conn.Close() // an app that takes one at a time is to see the health check
	ready := time.Now()
	if err := m.awaitHealthy(ctx, inst, service); err != nil {
		return nil, m.unhealthy(inst, service, err)
	}
	w.Health = time.Since(ready)
	return nil, nil
}

// awaitAdopted holds requests back from an instance that listens, and may not have been
// healthy yet when an earlier daemon ended, until it is or its startup timeout is over.
// Then it is as any other that runs: it has its checks before anything is done about it.
func (m *Manager) awaitAdopted(inst *instance, answer ingress.Answer) {
	service, ok := m.config.Load().Services[inst.id.Service]
	if !ok || service.Health == "" {
		return
	}
	left := service.StartupTimeout - time.Duration(ingress.Monotonic()-answer.ReadyAt)
	if left <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(m.ctx, left)
	defer cancel()
	if err := m.awaitHealthy(ctx, inst, service); err != nil && m.ctx.Err() == nil {
		m.log.Warn("adopted although it is not healthy", "instance", inst.id, "err", err)
	}
}

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
		if last == nil || !isTimeout(err) {
			last = err
		}
		timer.Reset(healthInterval)
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.Canceled) || errors.Is(context.Cause(ctx), errToldToStop) {
				return context.Cause(ctx)
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

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// checkHealth makes one request on a connection of its own, which is closed after
// it: an app may serve one connection at a time.
func (m *Manager) checkHealth(ctx context.Context, inst *instance, path string) error {
	conn, err := m.connect(ctx, inst)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = askHealth(ctx, conn, path, false)
	return err
}

// statusError is an answer that is not 200.
type statusError struct{ status int }

func (e *statusError) Error() string { return fmt.Sprintf("status %d", e.status) }

// askHealth makes the request on conn, until ctx ends, and takes the answer to its end:
// an app that cannot write all of it might complain in its log, each time. With keep the
// connection may be used again, if the app agrees.
func askHealth(ctx context.Context, conn net.Conn, path string, keep bool) (again bool, err error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer func() { again = stop() && again }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return false, fmt.Errorf("check health: %w", err)
	}
	req.Header.Set("User-Agent", "tenement-health")
	req.Close = !keep
	if err := req.Write(conn); err != nil {
		return false, fmt.Errorf("check health: %w", err)
	}
	in := bufio.NewReader(io.LimitReader(conn, maxHealthAnswer))
	resp, err := readAnswer(in, req)
	if err != nil {
		return false, fmt.Errorf("check health: %w", err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, &statusError{resp.StatusCode}
	}
	return keep && err == nil && !resp.Close && in.Buffered() == 0, nil
}

// readAnswer reads the answer to a request of ours. What is only on the way to it (103, Early
// Hints) it passes over.
func readAnswer(in *bufio.Reader, req *http.Request) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(in, req)
		if err != nil || resp.StatusCode/100 != 1 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, err
		}
		resp.Body.Close()
	}
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
