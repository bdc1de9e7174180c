package limits

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// TestStartsWaitForMemory fills the machine's memory. A start waits then; idle instances
// doze and stop for it, the busy one does not, and the start goes on when there is
// memory again. This kernel has no PSI, so it is what is available that counts.
func TestStartsWaitForMemory(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: `
[service.app]
command = "{bin}/testapp"
idle_timeout = 3600
`})
	s.Spawn("app:sleeper", "app:idle", "app:busy")
	if r := s.Ten("stop", "app:sleeper"); r.Code != 0 {
		t.Fatal(r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*harness.Timeout)
	defer cancel()
	body, finish := io.Pipe() // an upload that lasts as long as the test wants
	busy := make(chan string, 1)
	go func() { busy <- upload(ctx, s, "app:busy", body) }()
	eventually(t, "the upload has begun", func() bool { return s.Get("app:busy").InFlight == 1 })
	empty := fillMemory(t, 35)
	t.Logf("available: %d MiB", available(t))

	answered := make(chan harness.Response, 1)
	go func() {
		resp, _ := s.Do(ctx, http.MethodGet, "app:sleeper", "/count", "")
		answered <- resp
	}()
	eventually(t, "an idle one is stopped", func() bool { return strings.Contains(s.Log.String(), "instance=app:idle becomes=asleep") })
	s.Await("app:idle", tenant.Asleep)
	said := s.Log.String()
	doze, stop := strings.Index(said, "instance=app:idle becomes=dozing"), strings.Index(said, "instance=app:idle becomes=asleep")
	if doze < 0 || stop < doze {
		t.Errorf("want it to doze before it stops:\n%s", said)
	}
	if got := s.Get("app:busy").State; got != tenant.Awake {
		t.Errorf("the busy one is %s, want it awake", got)
	}
	select {
	case got := <-answered:
		t.Errorf("the start did not wait for memory: got %d", got.Status)
	default:
	}
	empty()
	if got := <-answered; got.Status != http.StatusOK {
		t.Errorf("with memory again: got %d %s, want 200", got.Status, got.Body)
	} else if _, queue, _ := strings.Cut(got.Header.Get("Server-Timing"), "queue;dur="); len(strings.Split(queue, ".")[0]) < 4 {
		t.Errorf("got %q, want more than a second in the queue", got.Header.Get("Server-Timing"))
	}
	if _, err := finish.Write([]byte("12345")); err != nil {
		t.Error(err)
	}
	finish.Close()
	if got := <-busy; got != "200 5" {
		t.Errorf("the request in flight: got %s, want 200 and its five bytes", got)
	}
}

// upload sends a body and gives the status and the answer.
func upload(ctx context.Context, s *harness.Server, id string, body io.Reader) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+harness.Host(id)+"/upload", body)
	if err != nil {
		return err.Error()
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(text)))
}
