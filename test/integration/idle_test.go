package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

func TestIdleInstancesSleepAndWake(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "idle_timeout = 2\n" + `
[service.stays]
command = "{bin}/testapp"
idle_timeout = 0
`})
	s.Spawn("app:alice", "stays:alice")
	asked := time.Now() // the answer may take its time
	s.Text("app:alice", "/count")
	s.Await("app:alice", tenant.Asleep) // as it never does by default
	if took := time.Since(asked); took < 2*time.Second {
		t.Errorf("asleep after %v, want 2 s", took)
	}
	if got := s.Show("app:alice", "ActiveState"); got != "inactive" {
		t.Errorf("unit: got %s, want inactive", got)
	}
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("after the wake: got count %s, want 1 of a new process", got)
	}
	if got := s.Get("stays:alice").State; got != tenant.Awake {
		t.Errorf("idle_timeout = 0: got %v, want awake", got)
	}
}

// `ten doze` freezes at once what has nothing to do, and refuses what has.
func TestDozeByHand(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	s.Text("app:alice", "/count")
	var slow sync.WaitGroup
	slow.Go(func() {
		if got := s.Fetch("app:alice", "/slow?ms=3000"); got.Status != 200 {
			t.Errorf("a request in flight: got %d %s", got.Status, got.Body)
		}
	})
	eventually(t, "the request is in flight", func() bool { return s.Get("app:alice").InFlight == 1 })
	if r := s.Ten("doze", "app:alice"); r.Code != 1 || !strings.Contains(r.Stderr, "app:alice has 1 request in flight") {
		t.Errorf("%s: want it refused", r)
	}
	slow.Wait()
	if r := s.Ten("doze", "app:alice"); r.Code != 0 || s.Get("app:alice").State != tenant.Dozing {
		t.Fatalf("%s: want it dozing", r)
	}
	events, err := os.ReadFile(filepath.Join(cgroupDir(t, s, "app:alice"), "app/cgroup.events"))
	if err != nil || !strings.Contains(string(events), "frozen 1") {
		t.Errorf("cgroup.events: got %q %v, want frozen 1", events, err)
	}
	if got := s.Text("app:alice", "/count"); got != "2" {
		t.Errorf("its next request: got count %s, want 2 of the same process", got)
	}
}

func TestDozingKeepsTheProcess(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "doze_timeout = \"300ms\"\n"})
	s.Spawn("app:alice")
	thaws := int64(0) // by the first request: it may come late
	for want := 1; want <= 3; want++ {
		if got := s.Text("app:alice", "/count"); got != fmt.Sprint(want) {
			t.Errorf("count: got %s, want %d", got, want)
		}
		if want == 1 {
			thaws = s.Get("app:alice").Thaws
		}
		s.Await("app:alice", tenant.Dozing)
		eventually(t, "it is frozen, which takes a moment", func() bool { return isFrozen(t, s, "app:alice") })
	}
	if got := s.Get("app:alice"); got.Wakes != 1 || got.Thaws != thaws+2 {
		t.Errorf("got %d wakes and %d thaws, want 1 and %d", got.Wakes, got.Thaws, thaws+2)
	}
	if got := s.Show("app:alice", "ActiveState"); got != "active" {
		t.Errorf("unit: got %s, want active", got)
	}
	// A frozen one stops cleanly too.
	if r := s.Ten("stop", "app:alice"); r.Code != 0 {
		t.Error(r)
	}
	if got := s.Show("app:alice", "Result"); got != "success" {
		t.Errorf("result of stopping a frozen instance: got %s, want success", got)
	}
}

// TestNoRequestIsLostAtIdleBoundaries sends requests at random moments around those
// at which instances doze and stop.
func TestNoRequestIsLostAtIdleBoundaries(t *testing.T) {
	t.Run("process", func(t *testing.T) { idleBoundaries(t, "process", 10_000) })
	t.Run("namespace", func(t *testing.T) { idleBoundaries(t, "namespace", 2_000) }) // its wakes take longer
}

func idleBoundaries(t *testing.T, isolation string, total int64) {
	s := harness.Start(t, harness.Options{Config: `
[service.app]
command = "{bin}/testapp"
doze_timeout = "30ms"
idle_timeout = "90ms"
isolation = "` + isolation + `"
`})
	const tenants = 20
	for i := range tenants {
		s.Spawn(fmt.Sprintf("app:t%d", i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var left atomic.Int64
	left.Store(total)
	var wg sync.WaitGroup
	for i := range tenants {
		wg.Go(func() {
			id := fmt.Sprintf("app:t%d", i)
			for left.Add(-1) >= 0 && !t.Failed() {
				resp, err := s.Do(ctx, http.MethodPost, id, "/", "x")
				if err != nil || resp.Status != 200 {
					t.Errorf("%s: %v %d %s", id, err, resp.Status, resp.Body)
					return
				}
				// Mostly busy, at times just about as long as the timeouts.
				if rand.IntN(10) == 0 {
					pause := time.Duration(20+rand.IntN(90)) * time.Millisecond
					time.Sleep(pause)
				}
			}
		})
	}
	wg.Wait()
	var wakes, thaws int64
	for _, i := range s.List() {
		wakes += i.Wakes
		thaws += i.Thaws
	}
	t.Logf("%d requests, %d wakes from sleep, %d from doze", total, wakes-tenants, thaws)
	if wakes-tenants < total/400 || thaws < total/100 {
		t.Errorf("got %d wakes and %d thaws: the boundaries were not met", wakes-tenants, thaws)
	}
}

func TestStreamsAreNotCutWhileTheyWork(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "idle_timeout = 1\ndoze_timeout = \"500ms\"\n"})
	s.Spawn("app:alice")
	for name, run := range map[string]func() error{
		"events":   func() error { return stream(s, "/events?n=60&ms=50", "data: 59") },
		"download": func() error { return stream(s, "/download?n=3&ms=1500", "line 2") },
		"slow":     func() error { return stream(s, "/slow?ms=3000", "done") },
		"upload":   func() error { return slowUpload(s) },
	} {
		t.Run(name, func(t *testing.T) {
			before := s.Get("app:alice").Wakes
			if err := run(); err != nil {
				t.Error(err)
			}
			if after := s.Get("app:alice").Wakes; after > before+1 {
				t.Errorf("woken %d times during one request", after-before)
			}
		})
	}
}

// stream reads a response to its end, which must contain last.
func stream(s *harness.Server, path, last string) error {
	ctx, cancel := context.WithTimeout(context.Background(), harness.Timeout)
	defer cancel()
	resp, err := s.Do(ctx, http.MethodGet, "app:alice", path, "")
	if err != nil {
		return err
	}
	if !strings.Contains(resp.Body, last) {
		return fmt.Errorf("got %q, want it to end with %q", resp.Body, last)
	}
	return nil
}

// slowUpload sends a body that takes longer than the idle timeout.
func slowUpload(s *harness.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), harness.Timeout)
	defer cancel()
	r, w := io.Pipe()
	go func() {
		for range 5 {
			time.Sleep(500 * time.Millisecond)
			if _, err := w.Write([]byte("0123456789")); err != nil {
				return
			}
		}
		w.Close()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+harness.Host("app:alice")+"/upload", r)
	if err != nil {
		return err
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if strings.TrimSpace(string(body)) != "50" {
		return fmt.Errorf("got %q %v, want 50 bytes received", body, err)
	}
	return nil
}

func TestHeartbeatsDoNotKeepAwake(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "idle_timeout = 1\n"})
	s.Spawn("app:alice")
	ctx, cancel := context.WithTimeout(t.Context(), harness.Timeout)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.Do(ctx, http.MethodGet, "app:alice", "/events?n=1000&ms=100&comment=1", "")
	}()
	eventually(t, "the stream is open", func() bool { return s.Get("app:alice").InFlight == 1 })
	s.Await("app:alice", tenant.Asleep)
	cancel()
	<-done
}

func TestWebSocket(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "idle_timeout = 2\n[service.dozes]\ncommand = \"{bin}/testapp\"\ndoze_timeout = \"300ms\"\n"})
	s.Spawn("app:alice", "dozes:alice")
	ws := dialWebSocket(t, s, "app:alice")
	defer ws.Close()
	// Data frames keep it awake beyond the idle timeout.
	pid := appPID(t, s, "app:alice")
	for i := range 8 {
		message := fmt.Sprint("hello ", i)
		if got := ws.echo(t, 1, message); got != message {
			t.Fatalf("echo: got %q, want %q", got, message)
		}
		time.Sleep(400 * time.Millisecond)
	}
	if got := appPID(t, s, "app:alice"); got != pid {
		t.Errorf("process: got %d, want still %d", got, pid)
	}
	// A frame for a dozing app thaws it.
	other := dialWebSocket(t, s, "dozes:alice")
	defer other.Close()
	s.Await("dozes:alice", tenant.Dozing)
	if got := other.echo(t, 1, "wake up"); got != "wake up" {
		t.Errorf("echo of a frame to a dozing app: got %q", got)
	}
	// Pings do not keep it awake: it sleeps, which ends the connection.
	stop := time.After(harness.Timeout)
	for s.Get("app:alice").State != tenant.Asleep {
		ws.send(9, "ping")
		select {
		case <-stop:
			t.Fatal("a connection with nothing but pings keeps the instance awake")
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// webSocket is a client for short frames.
type webSocket struct {
	net.Conn
	r *bufio.Reader
}

func dialWebSocket(t *testing.T, s *harness.Server, id string) *webSocket {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", harness.Host(id))
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, want := resp.Header.Get("Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; resp.StatusCode != 101 || got != want {
		t.Fatalf("handshake: got %d %q, want 101 %q (RFC 6455, section 1.3)", resp.StatusCode, got, want)
	}
	return &webSocket{conn, r}
}

func (ws *webSocket) send(opcode byte, payload string) {
	frame := append([]byte{0x80 | opcode, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
	_, _ = ws.Write(frame)
}

// echo sends a frame and gives the payload of the next text frame.
func (ws *webSocket) echo(t *testing.T, opcode byte, payload string) string {
	t.Helper()
	ws.send(opcode, payload)
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(ws.r, head); err != nil {
			t.Fatal(errors.Join(errors.New("read frame"), err))
		}
		body := make([]byte, head[1])
		if _, err := io.ReadFull(ws.r, body); err != nil {
			t.Fatal(err)
		}
		if head[0]&0x0f == opcode {
			return string(body)
		}
	}
}
