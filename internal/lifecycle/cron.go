package lifecycle

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"tenement.dev/internal/tenant"
)

const (
	// maxScheduledRun bounds a scheduled request, to the end of its answer.
	maxScheduledRun = time.Hour
	// maxScheduledAnswer is how much of the answer is read, in bytes.
	maxScheduledAnswer = 16 << 20
)

// requestScheduled makes the request of a schedule entry. The instance is in use until
// the answer has ended.
func (m *Manager) requestScheduled(ctx context.Context, inst *instance, path, entry string, answered func()) error {
	conn, err := m.connect(ctx, inst)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
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
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxScheduledAnswer)), req)
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	defer resp.Body.Close()
	answered()
	if d, ok, err := tenant.TakeKeepAwake(resp.Header); ok && err == nil {
		m.takeAppLease(inst, d)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
