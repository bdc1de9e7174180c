package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// ending is what a client of one has seen of its end.
type ending struct {
	body string
	err  error
}

// openEvents opens an event stream that has no end, and waits for its first event.
func openEvents(t *testing.T, s *harness.Server, id string) <-chan ending {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+harness.Host(id)+"/events?n=1000000&ms=50", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("data: 0\n\n"))
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}
	end := make(chan ending, 1)
	go func() {
		defer resp.Body.Close()
		rest, err := io.ReadAll(resp.Body)
		end <- ending{string(first) + string(rest), err}
	}()
	return end
}

// ended gives all that a WebSocket's server sends until its end; a close frame is
// answered.
func (ws *webSocket) ended(t *testing.T) []byte {
	t.Helper()
	var got []byte
	for {
		c, err := ws.r.ReadByte()
		if err != nil {
			return got
		}
		if got = append(got, c); bytes.HasSuffix(got, goingAway) {
			ws.send(8, "\x03\xe9")
		}
	}
}

// goingAway is a server's close frame with status 1001 (RFC 6455, section 7.4.1).
var goingAway = []byte{0x88, 2, 0x03, 0xe9}

func awaitStream(t *testing.T, end <-chan ending) {
	t.Helper()
	select {
	case got := <-end:
		if got.err != nil || !strings.HasSuffix(got.body, "\n") {
			t.Errorf("event stream: got %v after %q, want it to end well", got.err, got.body)
		}
	case <-time.After(harness.Timeout):
		t.Fatal("the event stream goes on")
	}
}

// openUpload begins a request that goes on until end is called.
func openUpload(t *testing.T, s *harness.Server, id string) (end func(), answer <-chan harness.Response) {
	t.Helper()
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+harness.Host(id)+"/upload", r)
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan harness.Response, 1)
	go func() {
		resp, err := s.HTTP.Do(req)
		if err != nil {
			answers <- harness.Response{Body: err.Error()}
			return
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			text = []byte(err.Error())
		}
		answers <- harness.Response{Status: resp.StatusCode, Header: resp.Header, Body: string(text)}
	}()
	return func() {
		_, _ = io.WriteString(w, "0123456789")
		w.Close()
	}, answers
}

// TestStopDrains stops and restarts an instance with all kinds of work in flight: a
// request ends, what comes meanwhile waits for the next process, streams are told.
func TestStopDrains(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "stop_grace = 60\n"})
	s.Spawn("app:alice")
	for _, verb := range []string{"stop", "restart"} {
		pid := appPID(t, s, "app:alice")
		ws := dialWebSocket(t, s, "app:alice")
		defer ws.Close()
		if got := ws.echo(t, 1, "hello"); got != "hello" {
			t.Fatalf("echo: got %q", got)
		}
		events := openEvents(t, s, "app:alice")
		end, answer := openUpload(t, s, "app:alice")
		eventually(t, "the request is in flight", func() bool { return s.Get("app:alice").InFlight == 3 })
		var wg sync.WaitGroup
		wg.Go(func() {
			if r := s.Ten(verb, "app:alice"); r.Code != 0 {
				t.Error(r)
			}
		})
		eventually(t, "it is stopping", func() bool { return s.Get("app:alice").State == tenant.Stopping })
		if got := ws.ended(t); !bytes.Equal(got, goingAway) {
			t.Errorf("%s: WebSocket: got %x, want a close frame with 1001", verb, got)
		}
		awaitStream(t, events)
		var ended atomic.Bool
		wg.Go(func() {
			if seen := s.Seen("app:alice", "/"); seen.PID == 0 || alive(pid) || !ended.Load() {
				t.Errorf("%s: a request during the drain was answered while the old process is alive %v", verb, alive(pid))
			}
		})
		eventually(t, "the next one waits", func() bool { return s.Get("app:alice").InFlight == 2 })
		ended.Store(true)
		end()
		if got := <-answer; got.Status != 200 || got.Body != "10\n" {
			t.Errorf("%s: in flight: got %d %s", verb, got.Status, got.Body)
		}
		wg.Wait() // which takes less than stop_grace
	}
}

// What does not end within stop_grace is cut off.
func TestDrainIsBounded(t *testing.T) {
	const slow = time.Minute
	s := harness.Start(t, harness.Options{Config: app + "stop_grace = 1\n"})
	s.Spawn("app:alice")
	answer := make(chan int, 1)
	go func() {
		resp, err := s.Do(context.Background(), http.MethodPost, "app:alice", fmt.Sprintf("/slow?ms=%d", slow.Milliseconds()), "")
		if err != nil {
			t.Error(err)
		}
		answer <- resp.Status
	}()
	eventually(t, "the request is in flight", func() bool { return s.Get("app:alice").InFlight == 1 })
	begun := time.Now()
	if r := s.Ten("stop", "app:alice"); r.Code != 0 {
		t.Error(r)
	}
	if took := time.Since(begun); took < time.Second {
		t.Errorf("the stop took %v, want stop_grace for the request", took)
	}
	if got := <-answer; got != http.StatusBadGateway {
		t.Errorf("the request that was cut off: got %d, want 502", got)
	}
	if took := time.Since(begun); took > slow-time.Second {
		t.Errorf("it ended after %v, as if nobody had cut it off", took)
	}
}

// A daemon that ends says so to WebSockets and ends event streams; the instance goes on.
func TestDaemonEndsStreams(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	pid := appPID(t, s, "app:alice")
	ws := dialWebSocket(t, s, "app:alice")
	defer ws.Close()
	ws.echo(t, 1, "hello")
	events := openEvents(t, s, "app:alice")
	begun := time.Now()
	ended := make(chan []byte, 1)
	go func() { ended <- ws.ended(t) }()
	s.Signal(syscall.SIGTERM)
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("the daemon took %v to end", took)
	}
	if got := <-ended; !bytes.Equal(got, goingAway) {
		t.Errorf("WebSocket: got %x, want a close frame with 1001", got)
	}
	awaitStream(t, events)
	if strings.Contains(s.Log.String(), "cut off") {
		t.Errorf("something was cut off:\n%s", s.Log)
	}
	if !alive(pid) {
		t.Error("the instance ended with the daemon")
	}
	s.Run()
}
