package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

// sleeper is a backend that wakes when awake is closed.
type sleeper struct {
	*backend
	asked chan struct{}
	awake chan struct{}
}

func (s *sleeper) Acquire(ctx context.Context, id tenant.ID, v tenant.Visit) (tenant.Endpoint, func(), error) {
	s.asked <- struct{}{}
	select {
	case <-s.awake: // whatever has become of ctx meanwhile
		return s.backend.Acquire(ctx, id, v)
	default:
	}
	select {
	case <-s.awake:
		return s.backend.Acquire(ctx, id, v)
	case <-ctx.Done():
		return nil, nil, &tenant.Error{Code: tenant.CodeUnavailable, Msg: "left", Err: context.Cause(ctx)}
	}
}

func (s *sleeper) AcquireAwake(tenant.ID, tenant.Visit, tenant.Endpoint) (tenant.Endpoint, func(), bool) {
	return nil, nil, false
}

// sleeping runs a proxy before an instance that sleeps, with little patience.
func sleeping(t *testing.T, patience time.Duration) (*sleeper, *httptest.Server) {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the site") }))
	t.Cleanup(origin.Close)
	s := &sleeper{backend: &backend{address: origin.Listener.Addr().String()}, asked: make(chan struct{}, 100), awake: make(chan struct{})}
	p := New(Options{Domain: "test", Waker: s, Patience: func(string) time.Duration { return patience }, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Run(ctx)
	}()
	server := httptest.NewUnstartedServer(p)
	server.Config.ConnContext = ConnContext
	server.Start()
	t.Cleanup(func() {
		server.Close()
		cancel()
		<-done
		p.Rest(tenant.ID{Service: "app", Name: "a"})
		if got := s.held.Load(); got != 0 {
			t.Errorf("%d requests are still counted in", got)
		}
	})
	return s, server
}

func visitor(t *testing.T, server *httptest.Server, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "a.app.test"
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestWaitingPage(t *testing.T) {
	s, server := sleeping(t, 20*time.Millisecond)
	resp, body := visitor(t, server, "GET", "/", "Accept", "text/html,*/*")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || resp.Header.Get("Cache-Control") != "no-store" ||
		!strings.Contains(body, "Starting") || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "nonce-") {
		t.Fatalf("got %s %v %s, want the waiting page", resp.Status, resp.Header, body)
	}
	for _, secret := range []string{"app", "a.app"} {
		if strings.Contains(strings.ReplaceAll(body, "apps", ""), `"`+secret+`"`) {
			t.Errorf("the page tells of %q", secret)
		}
	}
	<-s.asked
	<-s.asked // somebody waits on behalf of the visitor

	// The page's own request is told when the site is there.
	req, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+progressPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "a.app.test"
	req.Header.Set("Accept", "text/event-stream")
	events, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	<-s.asked
	close(s.awake)
	line, err := bufio.NewReader(events.Body).ReadString('\n')
	if err != nil || line != "event: settled\n" {
		t.Errorf("got %q, %v, want an event", line, err)
	}
	if resp, body := visitor(t, server, "GET", "/", "Accept", "text/html"); resp.StatusCode != 200 || body != "the site" {
		t.Errorf("awake: got %s %q", resp.Status, body)
	}
}

// Programs, and requests that are no navigation, are held.
func TestWhoIsHeld(t *testing.T) {
	s, server := sleeping(t, time.Millisecond)
	time.AfterFunc(50*time.Millisecond, func() { close(s.awake) })
	for _, c := range []struct {
		method string
		header []string
	}{
		{"GET", nil},
		{"GET", []string{"Accept", "application/json"}},
		{"GET", []string{"Accept", "text/html", "Sec-Fetch-Mode", "cors"}},
		{"GET", []string{"Accept", "text/html", "User-Agent", "Googlebot/2.1"}},
		{"POST", []string{"Accept", "text/html"}},
	} {
		if resp, body := visitor(t, server, c.method, "/", c.header...); resp.StatusCode != 200 || body != "the site" {
			t.Errorf("%s %v: got %s %q, want the site", c.method, c.header, resp.Status, body)
		}
	}
	// A path is the app's own but for the page's request.
	if resp, body := visitor(t, server, "GET", progressPath); resp.StatusCode != 200 || body != "the site" {
		t.Errorf("%s: got %s %q, want the site's own", progressPath, resp.Status, body)
	}
}

func TestErrorPage(t *testing.T) {
	address, _ := serve(t, &backend{err: &tenant.Error{Code: tenant.CodeNotFound, Msg: `<script>"x"`, Hint: "do that"}}, nil)
	resp, body, err := get(t, address, http.MethodGet, "Accept", "text/html")
	if err != nil || resp.StatusCode != 404 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") ||
		!strings.Contains(body, "&lt;script&gt;") || strings.Contains(body, "<script>") {
		t.Errorf("got %v, %v, %s, want a page with the text in it", resp, err, body)
	}
	if _, body, _ = get(t, address, http.MethodGet, "Accept", "text/html", "X-Forwarded-For", "9.9.9.9"); strings.Contains(body, "do that") {
		t.Errorf("a client behind a proxy is told %s", body)
	}
	if resp, _, err := get(t, address, http.MethodGet, "Accept", "*/*"); err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("a program: got %v, %v, want plain text", resp, err)
	}
}
