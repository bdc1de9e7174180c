package conformance_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// testWebSocket has an independent client talk through doze, sleep and a restart.
func testWebSocket(t *testing.T, s *server) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*harness.Timeout)
	defer cancel()
	dial := func(id string) *websocket.Conn {
		t.Helper()
		conn, _, err := websocket.Dial(ctx, "ws://"+harness.Host(id)+"/ws", &websocket.DialOptions{HTTPClient: s.HTTP})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.CloseNow() })
		return conn
	}
	echo := func(conn *websocket.Conn, text string) {
		t.Helper()
		if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.Read(ctx); err != nil || string(got) != text {
			t.Fatalf("got %q, %v, want %q", got, err, text)
		}
	}
	ended := func(conn *websocket.Conn, why string) {
		t.Helper()
		if _, got, err := conn.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("%s: got %q, %v, want status 1001", why, got, err)
		}
	}
	conn := dial("dozer:ws")
	echo(conn, "hello")
	// A pong comes while somebody reads.
	pinged, stop := context.WithCancel(ctx)
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		_, _, _ = conn.Read(pinged)
	}()
	if err := conn.Ping(ctx); err != nil {
		t.Errorf("ping: %v", err)
	}
	stop() // which ends the connection too
	<-reader

	conn = dial("dozer:ws")
	echo(conn, "hello again")
	wakes := s.Get("dozer:ws").Wakes
	s.Await("dozer:ws", tenant.Dozing)
	echo(conn, "through the doze")
	if got := s.Get("dozer:ws").Wakes; got != wakes {
		t.Errorf("the doze ended with a new process: %d wakes, want %d", got, wakes)
	}
	conn = dial("brief:ws")
	echo(conn, "good night")
	ended(conn, "sleep") // nobody says anything any more
	s.Await("brief:ws", tenant.Asleep)
	conn = dial("brief:ws")
	echo(conn, "awake again")
	restarted := make(chan harness.Result, 1)
	go func() { restarted <- s.Ten("restart", "brief:ws") }()
	ended(conn, "restart")
	if r := <-restarted; r.Code != 0 {
		t.Errorf("restart: %s", r)
	}
	echo(dial("brief:ws"), "after the restart")
}

// testEvents has a client of server-sent events do the same, which connects again as
// EventSource does.
func testEvents(t *testing.T, s *server) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*harness.Timeout)
	defer cancel()
	open := func() *bufio.Scanner {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, "GET", "http://"+harness.Host("ticker:sse")+"/events?n=10000&ms=100", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/event-stream")
		resp, err := s.HTTP.Do(req)
		if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("got %v, %v", resp, err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return bufio.NewScanner(resp.Body)
	}
	next := func(events *bufio.Scanner, n int) {
		t.Helper()
		for got := 0; got < n; {
			if !events.Scan() {
				t.Fatalf("the stream has ended: %v", events.Err())
			}
			if strings.HasPrefix(events.Text(), "data: ") {
				got++
			}
		}
	}
	events := open()
	next(events, 1)
	wakes := s.Get("ticker:sse").Wakes
	next(events, 70) // which is longer than it may be idle
	if got := s.Get("ticker:sse"); got.Wakes != wakes || got.State != tenant.Awake {
		t.Errorf("while it sends: got %v and %d wakes, want awake and %d", got.State, got.Wakes, wakes)
	}
	restarted := make(chan harness.Result, 1)
	go func() { restarted <- s.Ten("restart", "ticker:sse") }()
	for events.Scan() {
	}
	if err := events.Err(); err != nil {
		t.Errorf("the stream did not end well: %v", err)
	}
	next(open(), 3)
	if r := <-restarted; r.Code != 0 {
		t.Errorf("restart: %s", r)
	}
}

// testStreams makes many requests at a time over one connection of HTTP/2, to an instance
// that is awake and to one that is asleep.
func testStreams(t *testing.T, s *server) {
	const streams = 200
	var dialed atomic.Int64
	client := &http.Client{Timeout: 2 * harness.Timeout, Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		MaxConnsPerHost:   1,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			dialed.Add(1)
			return tls.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.tlsPort)),
				&tls.Config{ServerName: harness.Host("app:bob"), RootCAs: s.roots, NextProtos: []string{"h2"}})
		},
	}}
	defer client.CloseIdleConnections()
	// A client that has not heard yet how many streams there may be makes another connection.
	if resp, err := client.Get("https://" + harness.Host("app:bob") + "/count"); err != nil {
		t.Fatal(err)
	} else {
		resp.Body.Close()
	}
	for _, state := range []tenant.State{tenant.Awake, tenant.Asleep} {
		if state == tenant.Asleep {
			if r := s.Ten("stop", "app:bob"); r.Code != 0 {
				t.Fatalf("stop: %s", r)
			}
		}
		before := s.Get("app:bob").Wakes
		var wg sync.WaitGroup
		for range streams {
			wg.Go(func() {
				resp, err := client.Get("https://" + harness.Host("app:bob") + "/slow?ms=300")
				if err != nil {
					t.Errorf("%v: %v", state, err)
					return
				}
				defer resp.Body.Close()
				if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || resp.ProtoMajor != 2 || string(body) != "done\n" {
					t.Errorf("%v: got %s %q, %v", state, resp.Status, body, err)
				}
			})
		}
		wg.Wait()
		if got := s.Get("app:bob").Wakes - before; state == tenant.Asleep && got != 1 {
			t.Errorf("from sleep: %d wakes, want one", got)
		}
	}
	if got := dialed.Load(); got != 1 {
		t.Errorf("got %d connections, want one", got)
	}
}

// testBodies sends large bodies both ways; the daemon keeps none.
func testBodies(t *testing.T, s *server) {
	for _, size := range []int64{1 << 20, 200 << 20} {
		before := peak(t, s)
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+harness.Host("app:alice")+"/upload", io.LimitReader(zeros{}, size))
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = size
		resp, err := s.HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || strings.TrimSpace(string(body)) != strconv.FormatInt(size, 10) {
			t.Errorf("upload: the app got %s, %v, want %d bytes", body, err, size)
		}
		if req, err = http.NewRequestWithContext(t.Context(), "GET", fmt.Sprintf("http://%s/zeros?n=%d", harness.Host("app:alice"), size), nil); err != nil {
			t.Fatal(err)
		}
		if resp, err = s.HTTP.Do(req); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil || n != size {
			t.Errorf("download: got %d bytes, %v, want %d", n, err, size)
		}
		if grown := peak(t, s) - before; grown > 100<<10 {
			t.Errorf("the daemon's memory has grown by %d KiB over bodies of %d KiB", grown, size>>10)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// peak is the most memory that the daemon has used, in KiB (proc_pid_status(5), VmHWM).
func peak(t *testing.T, s *server) (kib int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}
