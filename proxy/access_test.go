package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

// accesses is an access log of the service "app", with queries where asked.
type accesses struct {
	service string
	query   bool
	list    chan tenant.Access
}

func (a *accesses) Wants(service string) (query, ok bool) { return a.query, service == a.service }
func (a *accesses) Add(entry tenant.Access)               { a.list <- entry }

func (a *accesses) next(t *testing.T) tenant.Access {
	t.Helper()
	select {
	case entry := <-a.list:
		return entry
	case <-time.After(10 * time.Second):
		t.Fatal("no entry")
		panic("unreachable")
	}
}

// wokenBackend is a backend that has just been woken.
type wokenBackend struct{ *backend }

func (b wokenBackend) Acquire(ctx context.Context, id tenant.ID, v tenant.Visit) (tenant.Endpoint, func(), error) {
	_, release, err := b.backend.Acquire(ctx, id, v)
	return wokenEndpoint(b), release, err
}

func (b wokenBackend) AcquireAwake(tenant.ID, tenant.Visit, tenant.Endpoint) (tenant.Endpoint, func(), bool) {
	return nil, nil, false
}

type wokenEndpoint struct{ *backend }

func (wokenEndpoint) Woke() *tenant.Wake {
	return &tenant.Wake{Kind: tenant.WakeCold, Total: 80 * time.Millisecond}
}

func TestAccessLog(t *testing.T) {
	asked := make(chan struct{}, 1)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hints":
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, "12345")
		case "/cut":
			w.Header().Set("Content-Length", "10")
			fmt.Fprint(w, "123")
		case "/never":
			asked <- struct{}{}
			<-r.Context().Done()
		default:
			fmt.Fprint(w, "123")
		}
	}))
	defer origin.Close()
	log := &accesses{service: "app", list: make(chan tenant.Access, 10)}
	b := wokenBackend{&backend{address: origin.Listener.Addr().String()}}
	p := New(Options{
		Domain: "test", Waker: b, Access: log, Log: slog.New(slog.DiscardHandler),
		Trusted: func(a netip.Addr) bool { return a.IsLoopback() || a == netip.MustParseAddr("10.0.0.1") },
	})
	server := httptest.NewUnstartedServer(p)
	server.Config.ConnContext = ConnContext
	server.Start()
	defer p.Rest(tenant.ID{Service: "app", Name: "a"})
	defer server.Close()

	visitor(t, server, "GET", "/hints?secret=1", "X-Forwarded-For", "6.6.6.6, 192.0.2.9, 10.0.0.1", "User-Agent", "me", requestIDHeader, "id1")
	got := log.next(t)
	if got.ID != (tenant.ID{Service: "app", Name: "a"}) || got.Method != "GET" || got.Path != "/hints" || got.Host != "a.app.test" ||
		got.Status != 418 || got.Bytes != 5 || got.Wake != tenant.WakeCold || got.Woke != 80*time.Millisecond || got.UserAgent != "me" ||
		got.RequestID != "id1" || got.Remote != "192.0.2.9" || got.Aborted || got.Code != "" || got.Duration <= 0 || got.Begun.IsZero() {
		t.Errorf("got %+v", got)
	}
	log.query = true
	visitor(t, server, "GET", "/?x=y")
	if got := log.next(t); got.Path != "/?x=y" || got.Status != 200 || got.Bytes != 3 || got.Remote != "127.0.0.1" {
		t.Errorf("got %+v", got)
	}
	// An answer that is cut off, and a client that leaves before there is one.
	cut := request(t, server.URL+"/cut")
	cut.Method = http.MethodPost // which no client repeats
	if resp, err := server.Client().Do(cut); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if got := log.next(t); got.Status != 200 || got.Bytes != 3 || !got.Aborted {
		t.Errorf("cut off: got %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-asked
		cancel()
	}()
	if resp, err := server.Client().Do(request(t, server.URL+"/never").WithContext(ctx)); err == nil {
		resp.Body.Close()
		t.Error("got an answer")
	}
	if got := log.next(t); got.Status != statusLeft || !got.Aborted {
		t.Errorf("left: got %+v", got)
	}
	// The daemon's own answers.
	b.err = &tenant.Error{Code: tenant.CodePaused}
	visitor(t, server, "GET", "/")
	if got := log.next(t); got.Status != 503 || got.Code != tenant.CodePaused || got.Bytes == 0 {
		t.Errorf("paused: got %+v", got)
	}
}

func request(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "a.app.test"
	return req
}

// An upgraded connection works through the log, and is counted.
func TestAccessLogOfUpgrades(t *testing.T) {
	origin := httptest.NewServer(upgrade("echo", func(conn net.Conn, in io.Reader) {
		line, _ := bufio.NewReader(in).ReadString('\n')
		_, _ = io.WriteString(conn, line+line)
		conn.Close()
	}))
	defer origin.Close()
	log := &accesses{service: "app", list: make(chan tenant.Access, 10)}
	p := New(Options{Domain: "test", Waker: &backend{address: origin.Listener.Addr().String()}, Access: log, Log: slog.New(slog.DiscardHandler)})
	server := httptest.NewUnstartedServer(p)
	server.Config.ConnContext = ConnContext
	server.Start()
	defer p.Rest(tenant.ID{Service: "app", Name: "a"})
	defer server.Close()
	conn, in := dialUpgraded(t, server.Listener.Addr().String(), "echo")
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(in); err != nil || string(got) != "hello\nhello\n" {
		t.Errorf("got %q, %v", got, err)
	}
	conn.Close()
	if got := log.next(t); got.Status != 101 || got.Bytes != 12 {
		t.Errorf("got %+v", got)
	}
}

// nobody is a response that is of no interest.
type nobody struct{ header http.Header }

func (n nobody) Header() http.Header         { return n.header }
func (n nobody) Write(p []byte) (int, error) { return len(p), nil }
func (n nobody) WriteHeader(int)             {}

// Where a service has no access log that costs nothing.
func TestAccessLogOffCostsNothing(t *testing.T) {
	measure := func(log AccessLog) float64 {
		p := New(Options{
			Domain: "test", Access: log, Log: slog.New(slog.DiscardHandler),
			Waker: &backend{err: &tenant.Unwoken{Kind: tenant.KindFavicon, State: tenant.Asleep}},
		})
		r := httptest.NewRequest("GET", "http://a.app.test/favicon.ico", strings.NewReader(""))
		w := nobody{http.Header{}}
		return testing.AllocsPerRun(1000, func() { p.ServeHTTP(w, r) })
	}
	without, off := measure(nil), measure(&accesses{service: "another"})
	if off > without {
		t.Errorf("got %v allocations with an access log that is off, %v without", off, without)
	}
	if on := measure(&accesses{service: "app", list: make(chan tenant.Access, 2000)}); on <= off {
		t.Errorf("got %v allocations with one that is on, %v off: this test sees nothing", on, off)
	}
}
