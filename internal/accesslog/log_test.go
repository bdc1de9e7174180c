package accesslog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const services = `
[service.off]
command = "/bin/true"
[service.on]
command = "/bin/true"
access_log = true
[service.lines]
command = "/bin/true"
access_log = "json"
access_log_query = true
`

func configured(t *testing.T) func() *config.Config {
	t.Helper()
	cfg, err := config.Parse("tenement.toml", []byte(services), "/")
	if err != nil {
		t.Fatal(err)
	}
	return func() *config.Config { return cfg }
}

// sink takes what is written.
type sink struct {
	mu      sync.Mutex
	entries []map[string]string
	lines   []string
	err     error
}

func (s *sink) journal(message string, fields map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fields["MESSAGE"] = message
	s.entries = append(s.entries, fields)
	return s.err
}

func (s *sink) line(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, string(p))
	return s.err
}

func TestWants(t *testing.T) {
	l := New(Options{Config: configured(t)})
	for service, want := range map[string][2]bool{"off": {}, "on": {false, true}, "lines": {true, true}, "unknown": {}} {
		if query, ok := l.Wants(service); query != want[0] || ok != want[1] {
			t.Errorf("%s: got %t, %t, want %v", service, query, ok, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { l.Wants("off") }); n != 0 {
		t.Errorf("got %v allocations", n)
	}
}

func TestEntries(t *testing.T) {
	s := &sink{}
	l := New(Options{Config: configured(t), Journal: s.journal, Lines: s.line, Log: slog.New(slog.DiscardHandler)})
	a := tenant.Access{
		ID: tenant.ID{Service: "on", Name: "alice"}, Begun: time.Unix(1700000000, 0).UTC(), Duration: 12345 * time.Microsecond,
		Method: "GET", Host: "alice.on.example", Path: "/a?b=<c>", UserAgent: strings.Repeat("u", 5000), Status: 503, Bytes: 7,
		Wake: tenant.WakeCold, Woke: 80 * time.Millisecond, Code: tenant.CodeFailed, RequestID: "r1", Remote: "192.0.2.1", Aborted: true,
	}
	l.Add(a)
	a.ID = tenant.ID{Service: "lines", Name: "bob"}
	l.Add(a)
	l.Add(tenant.Access{ID: tenant.ID{Service: "on"}, Method: "GET", Path: "/", Status: 404})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil { // what waits is written
		t.Fatal(err)
	}
	if len(s.entries) != 2 || len(s.lines) != 1 {
		t.Fatalf("got %d entries of the journal and %d lines, want 2 and 1", len(s.entries), len(s.lines))
	}
	got := s.entries[0]
	for name, want := range map[string]string{
		"MESSAGE": "GET /a?b=<c> 503, 7 bytes in 12.345 ms", "MESSAGE_ID": MessageID, "TENEMENT_SERVICE": "on",
		"TENEMENT_INSTANCE": "on:alice", "TENEMENT_TENANT": "alice", "TENEMENT_STATUS": "503", "TENEMENT_BYTES": "7",
		"TENEMENT_DURATION_MS": "12.345", "TENEMENT_WAKE": "cold", "TENEMENT_WAKE_MS": "80.000", "TENEMENT_ERROR": "failed",
		"TENEMENT_REQUEST_ID": "r1", "TENEMENT_REMOTE": "192.0.2.1", "TENEMENT_ABORTED": "1",
	} {
		if got[name] != want {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
	if n := len(got["TENEMENT_USER_AGENT"]); n > maxAgent+4 {
		t.Errorf("the user agent has %d bytes", n)
	}
	if _, ok := s.entries[1]["TENEMENT_INSTANCE"]; ok {
		t.Error("a request without an instance has one")
	}
	var e map[string]any
	if err := json.Unmarshal([]byte(s.lines[0]), &e); err != nil || !strings.HasSuffix(s.lines[0], "}\n") {
		t.Fatalf("%q: %v", s.lines[0], err)
	}
	for name, want := range map[string]any{
		"time": "2023-11-14T22:13:20Z", "instance": "lines:bob", "path": "/a?b=<c>", "status": 503.0, "duration_ms": 12.345,
		"wake": "cold", "wake_ms": 80.0, "error": "failed",
	} {
		if e[name] != want {
			t.Errorf("%s: got %v, want %v", name, e[name], want)
		}
	}
}

// Without a journal all is lines.
func TestNoJournal(t *testing.T) {
	s := &sink{}
	l := New(Options{Config: configured(t), Lines: s.line, Log: slog.New(slog.DiscardHandler)})
	l.Add(tenant.Access{ID: tenant.ID{Service: "on", Name: "alice"}, Status: 200})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil || len(s.lines) != 1 {
		t.Errorf("got %v, %v", s.lines, err)
	}
}

// A reader that takes nothing keeps neither requests nor the end.
func TestSlowReader(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var told bytes.Buffer
		stuck := make(chan struct{})
		l := New(Options{
			Config: configured(t), Log: slog.New(slog.NewTextHandler(&told, nil)),
			Lines: func([]byte) error { <-stuck; return nil },
		})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		l.Add(tenant.Access{})
		synctest.Wait() // it is being written
		const more = 100
		for range queueLength + more {
			l.Add(tenant.Access{})
		}
		time.Sleep(sayInterval + time.Second)
		synctest.Wait()
		if want := fmt.Sprintf("count=%d", more); !strings.Contains(told.String(), want) {
			t.Errorf("got log %q, want %s", &told, want)
		}
		told.Reset()
		cancel()
		if err := <-done; err != nil || !strings.Contains(told.String(), fmt.Sprintf("count=%d", queueLength)) {
			t.Errorf("at the end: got %v, log %q", err, &told)
		}
		close(stuck)
	})
}

func TestFailures(t *testing.T) {
	var told bytes.Buffer
	s := &sink{err: errors.New("no journal")}
	l := New(Options{Config: configured(t), Journal: s.journal, Lines: s.line, Log: slog.New(slog.NewTextHandler(&told, nil))})
	for range 3 {
		l.Add(tenant.Access{ID: tenant.ID{Service: "on"}})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil || !strings.Contains(told.String(), "count=3") {
		t.Errorf("got %v, log %q", err, &told)
	}
}
