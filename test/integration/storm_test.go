package integration

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// stormSize is how many sleeping tenants get a request at once; make bench-storm has
// more of them.
const stormSize = 30

// TestStorm wakes many tenants at once: everybody is answered, people before machines,
// and whoever is awake meanwhile goes on being served.
func TestStorm(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: `
[settings]
wake_concurrency = 3
[service.app]
command = "{bin}/testapp"
on_demand = true
max_instances = 100
waiting_page = 0
[service.warm]
command = "{bin}/testapp"
`})
	s.Spawn("warm:w")
	var ids []string
	for i := range stormSize {
		ids = append(ids, fmt.Sprintf("app:t%d", i))
	}
	storm(t, s, ids) // creates them
	if r := s.Ten(append([]string{"stop"}, ids...)...); r.Code != 0 {
		t.Fatal(r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var slowest time.Duration
	asked := 0
	wg.Go(func() {
		for ctx.Err() == nil {
			begun := time.Now()
			if resp, err := s.Do(t.Context(), http.MethodGet, "warm:w", "/count", ""); err != nil || resp.Status != 200 {
				t.Errorf("the warm tenant: got %d %v", resp.Status, err)
				return
			}
			slowest = max(slowest, time.Since(begun))
			asked++
		}
	})
	begun := time.Now()
	people, machines := storm(t, s, ids)
	took := time.Since(begun)
	cancel()
	wg.Wait()
	t.Logf("%d tenants in %v; in the queue: people %.0f ms, machines %.0f ms; the warm tenant answered %d times, after %v at most",
		stormSize, took, people, machines, asked, slowest)
	if people >= machines {
		t.Errorf("people waited %.0f ms on average and machines %.0f, want people first", people, machines)
	}
	if r := s.Ten(append([]string{"destroy", "--yes"}, ids...)...); r.Code != 0 {
		t.Error(r)
	}
}

// storm makes one request to each instance at once, every other one a person's, and
// gives the mean milliseconds that they were in the queue.
func storm(t *testing.T, s *harness.Server, ids []string) (people, machines float64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() {
			accept := "*/*"
			if i%2 == 1 {
				accept = "text/html"
			}
			resp, err := s.Do(ctx, http.MethodGet, id, "/count", "", "Accept", accept)
			if err != nil || resp.Status != 200 || strings.TrimSpace(resp.Body) != "1" {
				t.Errorf("%s: got %d %q %v, want 200 of a new process", id, resp.Status, resp.Body, err)
				return
			}
			_, rest, _ := strings.Cut(resp.Header.Get("Server-Timing"), "queue;dur=")
			text, _, _ := strings.Cut(rest, ",")
			ms, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Errorf("%s: no queue in Server-Timing %q", id, resp.Header.Get("Server-Timing"))
			}
			mu.Lock()
			defer mu.Unlock()
			if i%2 == 1 {
				people += ms * 2 / float64(len(ids))
			} else {
				machines += ms * 2 / float64(len(ids))
			}
		})
	}
	wg.Wait()
	return people, machines
}

// One tenant that hangs in its start must not keep others from starting.
func TestHangingStartsBlockNobody(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: `
[settings]
wake_concurrency = 2
[service.hangs]
command = "{bin}/testapp hang"
startup_timeout = 300
stop_grace = 1
on_demand = true
max_instances = 2
[service.app]
command = "{bin}/testapp"
on_demand = true
max_instances = 1
`})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() { _, _ = s.Do(ctx, http.MethodGet, fmt.Sprintf("hangs:h%d", i), "/", "") })
	}
	defer wg.Wait()
	defer cancel()
	hang := func() bool {
		return s.Show("hangs:h0", "ActiveState") == "activating" && s.Show("hangs:h1", "ActiveState") == "activating"
	}
	eventually(t, "both hang", hang)
	if got := s.Text("app:good", "/count"); got != "1" {
		t.Errorf("got %q", got)
	}
	if !hang() {
		t.Error("those that hang have ended, want that they give their places back before")
	}
	s.Ten("destroy", "--yes", "app:good")
}

// TestManyRequestsForAFreshApp holds a thousand requests for one that can take five.
func TestManyRequestsForAFreshApp(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Fatal(err)
	}
	s := harness.Start(t, harness.Options{Config: `
[service.plain]
command = "python3 plain.py"
isolation = "process"
keepalive = false
startup_timeout = 30
`})
	s.WriteFile("plain.py", `
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Plain(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")
    def log_message(self, *_): pass
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Plain).serve_forever()
`)
	s.Spawn("plain:p")
	s.Ten("stop", "plain:p")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begun := time.Now()
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			resp, err := s.Do(ctx, http.MethodGet, "plain:p", "/", "")
			if err != nil || resp.Status != 200 {
				t.Errorf("got %d %v", resp.Status, err)
			}
		})
	}
	wg.Wait()
	t.Logf("a thousand answers in %v", time.Since(begun))
}

func TestWhatDoesNotWake(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: `
[service.app]
command = "{bin}/testapp"
no_wake = ["head", "uptime", "robots"]
`})
	s.Spawn("app:alice")
	s.Ten("stop", "app:alice")
	do := func(method, path string, header ...string) harness.Response {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), harness.Timeout)
		defer cancel()
		resp, err := s.Do(ctx, method, "app:alice", path, "", header...)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	monitor := []string{"User-Agent", "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"}
	for _, c := range []struct {
		resp harness.Response
		want int
	}{{do("HEAD", "/"), 200}, {do("GET", "/", monitor...), 200}, {do("GET", "/robots.txt"), 503}} {
		if c.resp.Status != c.want || c.resp.Header.Get("Tenement-State") != "asleep" {
			t.Errorf("got %d %v, want %d without waking", c.resp.Status, c.resp.Header, c.want)
		}
	}
	snapshot := s.Get("app:alice")
	if snapshot.State != tenant.Asleep || snapshot.Unwoken["head"] != 1 || snapshot.Unwoken["uptime"] != 1 || snapshot.Unwoken["robots"] != 1 {
		t.Errorf("got %s and counts %v, want it asleep and each kind counted", snapshot.State, snapshot.Unwoken)
	}
	if got := s.Text("app:alice", "/favicon.ico"); !strings.Contains(got, "/favicon.ico") {
		t.Errorf("another kind: got %q, want the app's answer", got)
	}
	if resp := do("HEAD", "/"); resp.Status != 200 || resp.Header.Get("Tenement-State") != "" {
		t.Errorf("awake: got %d %v, want the app's answer", resp.Status, resp.Header)
	}
}
