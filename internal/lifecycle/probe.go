package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

const (
	// unhealthyAfter is how many checks in a row must fail.
	unhealthyAfter = 3
	// maxProbes bounds the checks that run at a time. Those that hang hold a place for
	// their timeout, so there must be many more than a healthy machine needs.
	maxProbes = 256
	// Each check has the interval to be answered in, within these bounds.
	minProbeTimeout = time.Second
	maxProbeTimeout = 5 * time.Second
)

// errUnknown says that a check has found out nothing about the app's health.
var errUnknown = errors.New("not known")

// health is what the checks of an awake instance have found. It begins anew with each
// change of state.
type health struct {
	timer    *time.Timer // the next check
	probe    *probe      // the one that runs; it outlives a change of state
	failures int         // in a row
	last     string      // why the last one failed
	at       time.Time   // when it was
	line     line
}

// probe is a check that runs.
type probe struct {
	cancel context.CancelFunc // ends the wait for the app's answer
	done   chan struct{}
}

func (h *health) resetLocked() {
	if h == nil {
		return
	}
	if h.timer != nil {
		h.timer.Stop()
	}
	h.line.close()
	h.timer, h.failures, h.last, h.at, h.line = nil, 0, "", time.Time{}, line{}
}

// tell puts it in words.
func (h *health) tell() (state tenant.Health, reason string) {
	switch {
	case h.failures == 0:
		return tenant.Healthy, ""
	case h.failures < unhealthyAfter:
		state = tenant.Degraded
	default:
		state = tenant.Unhealthy
	}
	return state, "health check failed: " + h.last
}

// watchHealthLocked sets the timer for the next check of an awake instance, if there is
// none. Each has a schedule of its own, shifted by chance.
func (m *Manager) watchHealthLocked(inst *instance) {
	cfg := m.config.Load()
	service, ok := cfg.Services[inst.id.Service]
	if health := inst.health.get(); inst.state != tenant.Awake || health.timer != nil || health.probe != nil || !ok || service.Health == "" {
		return
	}
	wait := time.Duration(float64(cfg.Settings.HealthCheckInterval) * (0.9 + 0.2*rand.Float64()))
	inst.health.own().timer = time.AfterFunc(wait, func() { m.tasks.do(func() { m.probe(inst) }) })
}

// probe checks an instance's health, unless it is not awake any more. A check counts as
// no activity, wakes nothing and thaws nothing.
func (m *Manager) probe(inst *instance) {
	select {
	case m.probes <- struct{}{}:
		defer func() { <-m.probes }()
	case <-m.ctx.Done():
		return
	}
	cfg := m.config.Load()
	service, ok := cfg.Services[inst.id.Service]
	inst.mu.Lock()
	h := inst.health.own()
	h.timer = nil
	if m.ctx.Err() != nil || inst.op != nil || inst.state != tenant.Awake || h.probe != nil || !ok || service.Health == "" {
		inst.mu.Unlock()
		return // what it does now ends with another look
	}
	timeout := min(max(cfg.Settings.HealthCheckInterval, minProbeTimeout), maxProbeTimeout)
	ringing, stop := context.WithTimeout(m.ctx, timeout)
	defer stop()
	asking, cancel := context.WithCancel(ringing)
	defer cancel()
	p := &probe{cancel: cancel, done: make(chan struct{})}
	generation, startedAt := inst.generation, inst.startedAt
	h.probe = p
	c := check{m: m, inst: inst, path: service.Health, startedAt: startedAt, ringing: ringing, asking: asking, line: h.line}
	h.line.conn = nil // the check's now
	inst.mu.Unlock()

	err := c.run()

	inst.mu.Lock()
	defer inst.mu.Unlock()
	h.probe = nil
	close(p.done)
	if inst.generation != generation || inst.op != nil || inst.removed || m.ctx.Err() != nil {
		c.line.close()
	} else {
		h.line = c.line
		m.judgeLocked(inst, service, err, timeout)
	}
	m.watchHealthLocked(inst)
}

// judgeLocked draws the conclusion from a check.
func (m *Manager) judgeLocked(inst *instance, service *config.Service, err error, timeout time.Duration) {
	h := inst.health.own()
	before, _ := h.tell()
	switch {
	case err == nil:
		if h.failures > 0 {
			m.log.Info("healthy again", "instance", inst.id, "failures", h.failures)
		}
		h.failures, h.last, h.at = 0, "", time.Now()
		m.tellHealthLocked(inst, before)
	case errors.Is(err, errAnother):
		m.noticedLocked(inst, time.Now(), false)
	case errors.Is(err, errUnknown):
		m.tasks.do(func() { m.look(m.ctx, inst) })
	default:
		h.failures++
		h.last, h.at = describeUnhealthy(err, timeout), time.Now()
		m.observer.Happened(inst.id, tenant.HealthFailed)
		m.log.Warn("health check failed", "instance", inst.id, "failures", h.failures, "err", err)
		m.tellHealthLocked(inst, before)
		if h.failures >= unhealthyAfter && service.Restart != config.RestartNever {
			_, reason := h.tell()
			f := m.failedLocked(inst, time.Now(), fmt.Sprintf("unhealthy: %s", reason), service.Restart)
			m.beginStopForLocked(inst, f.reason, &f)
		}
	}
}

func describeUnhealthy(err error, timeout time.Duration) string {
	var status *statusError
	switch {
	case errors.As(err, &status):
		return status.Error()
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return fmt.Sprintf("no answer within %v", timeout)
	default:
		return "no proper answer"
	}
}

// endProbe waits for the check that runs to end, so that it meets neither a frozen nor a
// stopping app. There is none after it while the instance's operation goes on.
func (m *Manager) endProbe(inst *instance) {
	inst.mu.Lock()
	p := inst.health.get().probe
	inst.mu.Unlock()
	if p != nil {
		p.cancel()
		<-p.done // a probe has its timeout
	}
}
