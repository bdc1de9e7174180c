package examples

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestWeb(t *testing.T) {
	t.Parallel()
	dir := install(t, "go-http")
	web := start(t, dir, "web")
	big := strings.Repeat("0123456789abcdef", 1<<16)
	tests := []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"GET", "/", "", 200, "hello from go"},
		{"GET", "/health", "", 200, `{"status":"ok"}`},
		{"GET", "/count", "", 200, `{"count":1}`},
		{"GET", "/count", "", 200, `{"count":2}`},
		{"GET", "/visits", "", 200, `{"visits":1}`},
		{"GET", "/visits", "", 200, `{"visits":2}`},
		{"POST", "/echo", "", 200, ""},
		{"POST", "/echo", "twice", 200, "twice"},
		{"PUT", "/echo", big, 200, big},
		{"GET", "/slow?ms=1", "", 200, `{"slept_ms":1}`},
		{"GET", "/slow?ms=x", "", 400, "ms is a number from 0 to 3600000"},
		{"GET", "/events?n=-1", "", 400, "n is a number from 0 to 1000000"},
		{"GET", "/exit?code=256", "", 400, "code is a number from 0 to 255"},
		{"GET", "/nothing", "", 404, "404 page not found"},
	}
	for _, tt := range tests {
		web.want(tt.method, tt.path, tt.body, tt.status, tt.text)
	}
	status, body, err := web.try("GET", "/headers", "")
	var headers http.Header
	if err != nil || status != 200 || json.Unmarshal([]byte(body), &headers) != nil {
		t.Fatalf("GET /headers: got %d %q, %v", status, body, err)
	}
	if got := headers.Get("Authorization") + ", " + headers.Get("Host"); got != "Bearer of tidings, alice.example.org" {
		t.Errorf("GET /headers: got %s", body)
	}
	web.onlyLoopback()
	web.stop(0)

	again := start(t, dir, "web")
	again.want("GET", "/count", "", 200, `{"count":1}`)
	again.want("GET", "/visits", "", 200, `{"visits":3}`)
	again.stop(0)
}

// TestWebEchoStreams checks that the echo of what was sent comes before the rest is sent.
func TestWebEchoStreams(t *testing.T) {
	t.Parallel()
	web := start(t, install(t, "go-http"), "web")
	in, out := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+web.address+"/echo", in)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = out.Write([]byte("ping\n")) }()
	resp, err := web.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewReader(resp.Body)
	for range 3 {
		if got, err := lines.ReadString('\n'); got != "ping\n" || err != nil {
			t.Fatalf("got %q, %v, want ping", got, err)
		}
		if _, err := out.Write([]byte("ping\n")); err != nil {
			t.Fatal(err)
		}
	}
	_ = out.Close()
	if got, err := io.ReadAll(lines); string(got) != "ping\n" || err != nil {
		t.Errorf("got %q, %v, want the last ping", got, err)
	}
}

func TestWebEvents(t *testing.T) {
	t.Parallel()
	web := start(t, install(t, "go-http"), "web")
	begin := time.Now()
	web.want("GET", "/events?n=3", "", 200,
		"id: 1\ndata: {\"event\": 1}\n\nid: 2\ndata: {\"event\": 2}\n\nid: 3\ndata: {\"event\": 3}\n")
	if took := time.Since(begin); took < 350*time.Millisecond {
		t.Errorf("three events: got them in %v, want 200ms between two of them", took)
	}
}

// TestWebFinishes checks that SIGTERM lets a request finish, and ends a stream that would never end.
func TestWebFinishes(t *testing.T) {
	t.Parallel()
	web := start(t, install(t, "go-http"), "web")
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+web.address+"/events?n=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := web.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	events := bufio.NewReader(resp.Body)
	if got, err := events.ReadString('\n'); got != "id: 1\n" || err != nil {
		t.Fatalf("got %q, %v, want the first event", got, err)
	}

	slow := make(chan string, 1)
	conn := web.dial()
	if _, err := io.WriteString(conn, "GET /slow?ms=700 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	go func() {
		text, _ := io.ReadAll(conn)
		slow <- string(text)
	}()
	// The server takes connections in order: once this one is answered, the one before has been taken.
	web.want("GET", "/health", "", 200, `{"status":"ok"}`)
	web.stop(0)
	if got := <-slow; !strings.HasSuffix(got, `{"slept_ms":700}`+"\n") {
		t.Errorf("request under way at SIGTERM: got %q, want its answer", got)
	}
	if _, err := io.Copy(io.Discard, events); err != nil {
		t.Errorf("stream at SIGTERM: got %v, want its end", err)
	}
}

func TestWebExit(t *testing.T) {
	t.Parallel()
	dir := install(t, "go-http")
	for path, want := range map[string]int{"/exit": 1, "/exit?code=0": 0, "/exit?code=7": 7} {
		web := start(t, dir, "web")
		web.want("GET", path, "", 200, "bye")
		if got := web.code(); got != want {
			t.Errorf("%s: got exit code %d, want %d", path, got, want)
		}
	}
}
