package proxy

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

var uuid7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestNewRequestID(t *testing.T) {
	at := time.UnixMilli(0x0123456789ab)
	seen := map[string]bool{}
	for range 1000 {
		id := newRequestID(at)
		if !uuid7.MatchString(id) || !strings.HasPrefix(id, "01234567-89ab-7") || seen[id] || !saneRequestID(id) {
			t.Fatalf("got %q", id)
		}
		seen[id] = true
	}
}

func TestSaneRequestID(t *testing.T) {
	for id, want := range map[string]bool{
		"abc": true, "Root=1-67891233-abcdef012345678912345678": true, "a/b+c:d@e_f.g": true, strings.Repeat("x", 128): true,
		"": false, "a b": false, "a\"b": false, "<b>": false, "a\tb": false, "ü": false, "$(x)": false, strings.Repeat("x", 129): false,
	} {
		if got := saneRequestID(id); got != want {
			t.Errorf("%q: got %t, want %t", id, got, want)
		}
	}
}

// The app gets the id that the client is answered with, whatever it says itself.
func TestRequestID(t *testing.T) {
	var mu sync.Mutex
	var got http.Header
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		got = r.Header.Clone()
		mu.Unlock()
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set(requestIDHeader, "the app's own")
	}))
	defer origin.Close()
	trusted := false
	p := New(Options{
		Domain: "test", Log: slog.New(slog.DiscardHandler), Trusted: func(netip.Addr) bool { return trusted },
		Waker: &backend{address: origin.Listener.Addr().String()},
	})
	server := httptest.NewUnstartedServer(p)
	server.Config.ConnContext = ConnContext
	server.Start()
	defer p.Rest(tenant.ID{Service: "app", Name: "a"})
	defer server.Close()
	ask := func(header ...string) (answered, passed string) {
		t.Helper()
		resp, _ := visitor(t, server, "GET", "/", append(header, "Traceparent", "00-a-b-01", "Tracestate", "x=y")...)
		mu.Lock()
		defer mu.Unlock()
		if a, b := resp.Header[requestIDHeader], got[requestIDHeader]; len(a) != 1 || len(b) != 1 || a[0] != b[0] {
			t.Fatalf("answered with %q, passed on %q", a, b)
		}
		if got.Get("Traceparent") != "00-a-b-01" || got.Get("Tracestate") != "x=y" {
			t.Errorf("the trace context has become %q %q", got.Get("Traceparent"), got.Get("Tracestate"))
		}
		return resp.Header.Get(requestIDHeader), got.Get(requestIDHeader)
	}
	if id, _ := ask(); !uuid7.MatchString(id) {
		t.Errorf("got %q", id)
	}
	if id, _ := ask(requestIDHeader, "mine"); id == "mine" {
		t.Error("anybody's id is taken")
	}
	trusted = true
	if id, _ := ask(requestIDHeader, "mine"); id != "mine" {
		t.Errorf("that of a trusted proxy has become %q", id)
	}
	if id, _ := ask(requestIDHeader, "<b>"); !uuid7.MatchString(id) {
		t.Errorf("got %q", id)
	}
}

func TestRequestIDOfErrors(t *testing.T) {
	var out bytes.Buffer
	p := New(Options{Domain: "test", Waker: &backend{err: &tenant.Error{Code: tenant.CodeFailed, Msg: "it has failed"}}, Log: slog.New(slog.NewTextHandler(&out, nil))})
	for _, accept := range []string{"text/html", "application/json", "*/*"} {
		out.Reset()
		r := httptest.NewRequest("GET", "http://a.app.test/", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		id := w.Header().Get(requestIDHeader)
		if !uuid7.MatchString(id) || !strings.Contains(w.Body.String(), id) || !strings.Contains(out.String(), "request_id="+id) {
			t.Errorf("%s: id %q, body %s, log %s", accept, id, w.Body, &out)
		}
	}
}

func TestFailuresAreBounded(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		q := newQuiet(slog.New(slog.NewTextHandler(&out, nil)))
		a, b := tenant.ID{Service: "app", Name: "a"}, tenant.ID{Service: "app", Name: "b"}
		may := func(id tenant.ID, n int) (lines int) {
			for range n {
				if q.may(id, time.Now()) {
					lines++
				}
			}
			return lines
		}
		if got := may(a, 1000); got != quietBurst {
			t.Errorf("got %d lines, want %d", got, quietBurst)
		}
		if got := may(b, 3); got != 3 {
			t.Errorf("another one: got %d lines, want 3", got)
		}
		time.Sleep(quietWindow)
		if got := may(a, 1); got != 1 || !strings.Contains(out.String(), fmt.Sprintf("instance=app:a count=%d", 1000-quietBurst)) {
			t.Errorf("then: got %d lines, log %s", got, &out)
		}
		may(a, 100)
		out.Reset()
		time.Sleep(quietWindow)
		q.sweep(time.Now())
		if !strings.Contains(out.String(), fmt.Sprintf("count=%d", 101-quietBurst)) || strings.Contains(out.String(), "app:b") || len(q.by) != 0 {
			t.Errorf("at last: log %s, %d windows", &out, len(q.by))
		}
	})
}
