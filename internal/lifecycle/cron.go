package lifecycle

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"tenement.dev/internal/config"
	"tenement.dev/internal/event"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

const (
	// maxScheduledRun bounds a scheduled request, to the end of its answer.
	maxScheduledRun = time.Hour
	// maxScheduledAnswer is how much of the answer is read, in bytes.
	maxScheduledAnswer = 16 << 20
)

// scheduledService gives the service of a run, if the entry is still configured.
func (m *Manager) scheduledService(run registry.Run) (service *config.Service, ok bool) {
	service, ok = m.config.Load().Services[run.ID.Service]
	return service, ok && slices.Contains(service.Schedule, run.Entry)
}

// runScheduled wakes an instance for a run, and makes the request that its service
// wants, as any other request. answered is called when the app has begun to answer.
// Where the instance cannot be had for now, wait is the time until the next try. A
// daemon that ends in between resumes the run, unless the request may have reached the
// app: it is made once at most.
func (m *Manager) runScheduled(run registry.Run, s *scheduler, answered func()) (wait time.Duration) {
	service, ok := m.scheduledService(run)
	inst, known := m.lookup(run.ID)
	if !ok || !known {
		s.ran(run)
		return 0
	}
	ctx, cancel := context.WithTimeout(m.ctx, maxScheduledRun)
	defer cancel()
	l, conn, err := m.callScheduled(ctx, inst, service, run.Entry)
	if err == nil {
		defer l.release()
	}
	if conn != nil {
		defer conn.Close()
	}
	if m.ctx.Err() != nil {
		return 0
	}
	if wait = refusedFor(err); wait > 0 && ctx.Err() == nil && s.mayRetry(run, wait) {
		m.log.Info("scheduled run waits", "instance", run.ID, "entry", run.Entry, "wait", wait, "err", err)
		return wait
	}
	s.ran(run)
	if conn != nil {
		err = requestScheduled(ctx, l, conn, service.SchedulePath, run.Entry, answered)
	}
	if tenant.CodeOf(err) == tenant.CodePaused {
		m.log.Info("scheduled run left out: it is paused", "instance", run.ID, "entry", run.Entry)
		return 0
	}
	if err != nil {
		m.log.Error("scheduled run failed", "instance", run.ID, "entry", run.Entry, "err", err)
		m.tell(event.Scheduled, run.ID, slog.String("entry", run.Entry), slog.String("reason", reasonOf(err)))
		return 0
	}
	m.tell(event.Scheduled, run.ID, slog.String("entry", run.Entry))
	return 0
}

// callScheduled has the instance awake for a run, and connects to it where there is a
// request to make; conn is nil where there is none. Both are nil beside an error.
func (m *Manager) callScheduled(ctx context.Context, inst *instance, service *config.Service, entry string) (*lease, net.Conn, error) {
	ctx = tenant.WithCause(ctx, tenant.CauseSchedule(entry))
	l, err := m.join(ctx, inst, service, tenant.Visit{})
	if err != nil || service.SchedulePath == "" {
		return l, nil, err
	}
	conn, err := l.Dial(ctx)
	if err != nil {
		l.release()
		return nil, nil, err
	}
	return l, conn, nil
}

// refusedFor gives the wait after which what was refused may be had, 0 where waiting
// does not help.
func refusedFor(err error) time.Duration {
	var e *tenant.Error
	if !errors.As(err, &e) || e.Code != tenant.CodeUnavailable {
		return 0
	}
	return max(e.RetryAfter, scheduleRetry)
}

// requestScheduled makes the request of a schedule entry. The instance is in use until
// the answer has ended.
func requestScheduled(ctx context.Context, l *lease, conn net.Conn, path, entry string, answered func()) error {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+path, nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("User-Agent", "tenement-schedule")
	req.Header.Set(tenant.ScheduleHeader, entry)
	req.Close = true
	if err := req.Write(conn); err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	resp, err := readAnswer(bufio.NewReader(io.LimitReader(conn, maxScheduledAnswer)), req)
	if err != nil {
		return noAnswer(err)
	}
	defer resp.Body.Close()
	answered()
	if d, ok, err := tenant.TakeKeepAwake(resp.Header); ok && err == nil {
		l.KeepAwake(d)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return noAnswer(err)
	}
	if resp.StatusCode/100 != 2 {
		return &tenant.Error{Code: tenant.CodeFailed, Op: "run schedule", Msg: fmt.Sprintf("the app answered with status %d", resp.StatusCode)}
	}
	return nil
}

// noAnswer is what an app is said to have done that did not answer to the end.
func noAnswer(err error) error {
	return &tenant.Error{Code: tenant.CodeFailed, Op: "run schedule", Msg: "the app did not answer properly", Err: err}
}
