package proxy

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tenement.dev/internal/tenant"
)

// slowOnly: servers of the tests have no fast path. indirectOnly: all that comes through
// net/http goes through the reverse proxy. All tests run with both, without the fast path, and
// without either.
var slowOnly, indirectOnly bool

func TestMain(m *testing.M) {
	stdlog.SetOutput(io.Discard) // where net/http complains of apps
	goleak.VerifyTestMain(allPaths{m})
}

// allPaths runs tests on each path.
type allPaths struct{ m *testing.M }

func (b allPaths) Run() int {
	code := b.m.Run()
	if code != 0 || flag.Lookup("test.fuzz").Value.String() != "" || flag.Lookup("test.list").Value.String() != "" {
		return code
	}
	fmt.Println("and without the fast path")
	slowOnly = true
	if code = b.m.Run(); code != 0 {
		return code
	}
	fmt.Println("and through the reverse proxy")
	indirectOnly = true
	if skip := flag.Lookup("test.skip").Value; skip.String() == "" {
		_ = skip.Set("^Test(Upload|Silen|Leftover|Handshakes|WebSocket|OtherUpgrade)") // they have gone there before, too
	}
	return b.m.Run()
}

// backend is a Waker over a real server; it counts requests in and out.
type backend struct {
	address  string
	err      error
	held     atomic.Int64
	acquired atomic.Int64
	dials    atomic.Int64
	touched  atomic.Int64
	meter    tenant.Meter
	timeout  time.Duration      // of requests, 0 for a long one
	leases   chan time.Duration // may be nil
	ending   chan struct{}      // nil: never
	// dial is instead of a connection to address; n counts from 1.
	dial func(ctx context.Context, n int64) (net.Conn, error)
	// resting: it is not awake for those who do not wait for that.
	resting atomic.Bool
	// waking is called by those who wait, if it is set.
	waking func(context.Context) error
	// releasing is called before a request is counted out, if it is set.
	releasing func()
}

func (b *backend) Acquire(ctx context.Context, _ tenant.ID, _ tenant.Visit) (tenant.Endpoint, func(), error) {
	if b.waking != nil && b.resting.Load() {
		if err := b.waking(ctx); err != nil {
			return nil, nil, err
		}
	}
	if b.err != nil {
		return nil, nil, b.err
	}
	b.held.Add(1)
	b.acquired.Add(1)
	return b, sync.OnceFunc(func() {
		if b.releasing != nil {
			b.releasing()
		}
		b.held.Add(-1)
	}), nil
}

func (b *backend) AcquireAwake(id tenant.ID, v tenant.Visit, _ tenant.Endpoint) (tenant.Endpoint, func(), bool) {
	if b.resting.Load() {
		return nil, nil, false
	}
	e, release, err := b.Acquire(context.Background(), id, v)
	return e, release, err == nil
}

func (b *backend) Dial(ctx context.Context) (net.Conn, error) {
	n := b.dials.Add(1)
	if b.dial != nil {
		return b.dial(ctx, n)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", b.address)
}

func (b *backend) Generation() uint64            { return 1 }
func (b *backend) Ending() <-chan struct{}       { return b.ending }
func (b *backend) Woke() *tenant.Wake            { return nil }
func (b *backend) RequestTimeout() time.Duration { return cmp.Or(b.timeout, 10*time.Second) }
func (b *backend) KeepAwake(d time.Duration)     { b.leases <- d }
func (b *backend) Meter() *tenant.Meter          { return &b.meter }
func (b *backend) KeepAlive() bool               { return true }
func (b *backend) Port() int {
	_, port, _ := net.SplitHostPort(b.address)
	n, _ := strconv.Atoi(port)
	return n
}
func (b *backend) Stream() func(context.Context) error {
	return func(context.Context) error { b.touched.Add(1); return nil }
}

// serve runs a proxy before an app until the test ends, and gives its address.
func serve(t *testing.T, b *backend, app http.Handler, tune ...func(*Server)) (string, *Server) {
	t.Helper()
	if app != nil {
		origin := httptest.NewServer(app)
		t.Cleanup(origin.Close)
		b.address = origin.Listener.Addr().String()
	}
	log := slog.New(slog.DiscardHandler)
	p := New(Options{Domain: "test", Waker: b, Log: log})
	server := newServer(p, log)
	for _, f := range tune {
		f(server)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		p.Rest(tenant.ID{Service: "app", Name: "a"})
		// net/http leaves clients a while for an answer that has come early, also when it is closed.
		waitFor(t, func() bool { return server.open() == 0 })
		// An upgraded connection ends on its own time.
		for deadline := time.Now().Add(5 * time.Second); b.held.Load() != 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		if got := b.held.Load(); got != 0 {
			t.Errorf("%d requests are still counted in", got)
		}
	})
	return l.Addr().String(), server
}

// newServer makes the server for a proxy.
func newServer(p *Proxy, log *slog.Logger) *Server {
	server := NewServer(p, p, log)
	p.direct = !indirectOnly
	if !slowOnly {
		server.Fast(HTTPS{})
	}
	return server
}

// get makes a request of its own connection.
func get(t *testing.T, address string, method string, header ...string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "a.app.test"
	req.Close = true
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func TestErrorsAsStatuses(t *testing.T) {
	for code, want := range map[tenant.Code]int{
		tenant.CodeNotFound: 404, tenant.CodeNoServiceHost: 404, tenant.CodeLimit: 429, tenant.CodeStartFailed: 503, tenant.CodeStartTimeout: 503,
		tenant.CodeFailed: 503, tenant.CodeUnavailable: 503, tenant.CodeInternal: 500,
	} {
		address, _ := serve(t, &backend{err: &tenant.Error{Code: code, Msg: "secret", Hint: "do that", RetryAfter: 1500 * time.Millisecond}}, nil)
		resp, body, err := get(t, address, http.MethodGet)
		if err != nil || resp.StatusCode != want || resp.Header.Get("Tenement-Error") != string(code) {
			t.Errorf("%s: got %v %v, want %d", code, resp, err, want)
		}
		if want == 503 && resp.Header.Get("Retry-After") != "2" {
			t.Errorf("%s: Retry-After: got %q, want 2", code, resp.Header.Get("Retry-After"))
		}
		if !strings.Contains(body, "secret") {
			t.Errorf("%s: a client on this machine is not told: %q", code, body)
		}
		if _, body, _ = get(t, address, http.MethodGet, "X-Forwarded-For", "9.9.9.9"); strings.Contains(body, "secret") {
			t.Errorf("%s: a client behind a proxy is told %q", code, body)
		}
	}
}

// That the server has no port left is its own fault, not the client's.
func TestNoPortIsUnavailable(t *testing.T) {
	address, _ := serve(t, &backend{err: fmt.Errorf("wake: %w", &tenant.Error{Code: tenant.CodeLimit, Msg: "all ports are in use", Err: tenant.ErrNoPort})}, nil)
	resp, _, err := get(t, address, http.MethodGet)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || resp.Header.Get("Tenement-Error") != "limit" {
		t.Errorf("got %v %v, want 503 with Retry-After", resp, err)
	}
}

// TestRepeats drops the first connections without an answer, as netcat does.
func TestRepeats(t *testing.T) {
	for _, test := range []struct {
		method string
		drops  int64
		want   int
	}{
		{http.MethodGet, 2, 200}, {http.MethodGet, 3, 502}, {http.MethodHead, 1, 200}, {http.MethodPost, 1, 502}, {http.MethodDelete, 1, 502},
	} {
		var seen atomic.Int64
		b := &backend{}
		address, _ := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if seen.Add(1) <= test.drops {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err == nil {
					conn.Close()
				}
			}
		}))
		resp, _, err := get(t, address, test.method)
		if err != nil || resp.StatusCode != test.want {
			t.Errorf("%s with %d drops: got %v %v, want %d", test.method, test.drops, resp, err, test.want)
		}
		if got := seen.Load(); test.want == 502 && test.method != http.MethodGet && got != 1 {
			t.Errorf("%s was made %d times, want once", test.method, got)
		}
	}
}

// TestEndedByTheRequest: a request that may have ended its process is not made again with
// the next one, also where the dying process has taken one more connection and reset it.
func TestEndedByTheRequest(t *testing.T) {
	for name, reused := range map[string]bool{"new connection": false, "used connection": true} {
		t.Run(name, func(t *testing.T) {
			var next atomic.Int64
			origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/" {
					return
				}
				if next.Add(1) > 1 {
					return // the next process
				}
				if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
					conn.Close()
				}
			}))
			defer origin.Close()
			b := &backend{}
			b.dial = func(ctx context.Context, n int64) (net.Conn, error) {
				switch {
				case n == 2:
					return resetConn(t), nil
				case n > 2 && tenant.SameProcess(ctx):
					return nil, tenant.ErrProcessEnded
				}
				return net.Dial("tcp", origin.Listener.Addr().String())
			}
			address, _ := serve(t, b, nil)
			conn := dial(t, address)
			if reused && !slowOnly { // net/http repeats by itself there
				if resp := talk(t, conn, "GET / HTTP/1.1\r\nHost: a.app.test\r\n\r\n")[0]; resp.StatusCode != 200 {
					t.Fatalf("got %s", resp.Status)
				}
			}
			if resp := talk(t, conn, "GET /exit HTTP/1.1\r\nHost: a.app.test\r\n\r\n")[0]; resp.StatusCode != 502 {
				t.Errorf("got %s, want 502", resp.Status)
			}
			if got := next.Load(); got != 1 {
				t.Errorf("the request was made %d times, want once", got)
			}
		})
	}
}

// resetConn is a connection that the other side has reset.
func resetConn(t *testing.T) net.Conn {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Error(err)
		return nil
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Error(err)
		return nil
	}
	if other, err := l.AcceptTCP(); err == nil {
		_ = other.SetLinger(0)
		other.Close()
	}
	return conn
}

// TestLoop hands out connections that lead back to the proxy.
func TestLoop(t *testing.T) {
	b := &backend{}
	address, _ := serve(t, b, nil)
	b.address = address
	resp, _, err := get(t, address, http.MethodGet)
	if err != nil || resp.StatusCode != http.StatusLoopDetected {
		t.Errorf("got %v %v, want 508", resp, err)
	}
	if got := b.acquired.Load(); got != 1 {
		t.Errorf("the request went round %d times, want once", got)
	}
}

// TestHeadsWithoutEnd: what an app says before its answer's body has a bound.
func TestHeadsWithoutEnd(t *testing.T) {
	for line, begin := range map[string]string{
		"X-Header: " + strings.Repeat("x", 1000) + "\r\n": "HTTP/1.1 200 OK\r\n",
		strings.Repeat("x", 1000):                         "HTTP/1.1 200 OK\r\nX-Header: ",
		"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n":  "",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var written atomic.Int64
		var app sync.WaitGroup
		app.Go(func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, err = io.WriteString(conn, begin)
			for err == nil && written.Load() < 16<<20 {
				var n int
				n, err = io.WriteString(conn, line)
				written.Add(int64(n))
			}
		})
		address, _ := serve(t, &backend{address: l.Addr().String()}, nil)
		resp, _, err := get(t, address, http.MethodPost)
		if err != nil || resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%.20q without end: got %v %v, want 502", line, resp, err)
		}
		app.Wait()
		// What is in the sockets' buffers has been written too.
		if got := written.Load(); got >= 16<<20 {
			t.Errorf("%.20q without end: all %d bytes were taken", line, got)
		}
		l.Close()
	}
}

// TestOneConnectionAtATime: an app that waits on an unused connection of ours is not
// blocked for long.
func TestOneConnectionAtATime(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var app sync.WaitGroup
	app.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answerAll(conn) // to its end, before the next
		}
	})
	t.Cleanup(app.Wait) // last of all: when the proxy has closed its connections
	b := &backend{address: l.Addr().String()}
	address, _ := serve(t, b, nil)
	begun := time.Now()
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			if resp, _, err := get(t, address, http.MethodGet); err != nil || resp.StatusCode != 200 {
				t.Errorf("got %v %v", resp, err)
			}
		})
	}
	clients.Wait()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("four requests took %v: each waited for the one before to give up its connection", took)
	}
	l.Close()
}

// rawApp is an app that speaks for itself on each connection, which ends with f; it gives its address.
func rawApp(t *testing.T, f func(conn net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				f(conn)
			})
		}
	})
	return l.Addr().String()
}

// answerAll answers the requests on a connection, keeping it open.
func answerAll(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 4096)
	for {
		if _, err := conn.Read(buf); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond) // so that the others connect meanwhile
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

// TestDrain replaces a server under load, as a restart behind a socket of systemd's
// does: no request is dropped, on a connection of its own or on one that is kept.
func TestDrain(t *testing.T) {
	t.Run("connections of their own", func(t *testing.T) {
		replaceUnder(t, func(address string) error {
			resp, body, err := get(t, address, http.MethodGet)
			if err == nil && (resp.StatusCode != 200 || body != "ok") {
				err = fmt.Errorf("got %v %q", resp, body)
			}
			return err
		})
	})
	t.Run("kept ones", func(t *testing.T) {
		var mu sync.Mutex
		var spare []*keptConn
		replaceUnder(t, func(address string) error {
			mu.Lock()
			conn := &keptConn{}
			if n := len(spare); n > 0 {
				conn, spare = spare[n-1], spare[:n-1]
			}
			mu.Unlock()
			again, err := conn.post(address)
			if again {
				mu.Lock()
				spare = append(spare, conn)
				mu.Unlock()
			}
			return err
		})
		for _, conn := range spare {
			conn.Close()
		}
	})
}

// shortFarewell is that of a server which has clients that do not pause for long.
const shortFarewell = 100 * time.Millisecond

// keptConn is a connection of a client that makes a request again only where it may have been
// too slow: it was told of the end of its connection in time.
type keptConn struct {
	net.Conn
	in   *bufio.Reader
	used time.Time
}

// post makes a request, and reports whether there may be another one.
func (c *keptConn) post(address string) (again bool, err error) {
	patience := shortFarewell / 4
	if c.Conn == nil {
		patience = silence / 4
		if err := c.dial(address); err != nil {
			return false, err
		}
	}
	const request = "POST / HTTP/1.1\r\nHost: a.app.test\r\nContent-Length: 0\r\n\r\n"
	_, err = io.WriteString(c.Conn, request)
	slow := time.Since(c.used) > patience // it may have waited for a processor just before that
	var resp *http.Response
	if err == nil {
		resp, err = http.ReadResponse(c.in, nil)
	}
	if err != nil && slow {
		c.Close()
		if err = c.dial(address); err == nil {
			return c.post(address)
		}
	}
	if err != nil {
		return false, err
	}
	body, err := io.ReadAll(resp.Body)
	c.used = time.Now()
	if err == nil && (resp.StatusCode != 200 || string(body) != "ok") {
		err = fmt.Errorf("got %v %q", resp, body)
	}
	if resp.Close {
		c.Close()
	}
	return err == nil && !resp.Close, err
}

func (c *keptConn) dial(address string) (err error) {
	c.Conn, err = net.Dial("tcp", address)
	c.in, c.used = bufio.NewReader(c.Conn), time.Now()
	return err
}

// replaceUnder has several clients ask one after the other while servers replace each other.
func replaceUnder(t *testing.T, ask func(address string) error) {
	b := &backend{}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(2 * time.Millisecond)
		fmt.Fprint(w, "ok")
	}))
	defer origin.Close()
	b.address = origin.Listener.Addr().String()
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, ok := first.(*net.TCPListener)
	if !ok {
		t.Fatalf("listener of type %T", first)
	}
	held, err := tcp.File() // as systemd holds it
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	first.Close()

	var stop atomic.Bool
	var served atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for !stop.Load() && !t.Failed() {
				err := ask(first.Addr().String())
				if stop.Load() {
					return
				}
				if err != nil {
					t.Errorf("after %d requests: %v", served.Load(), err)
				}
				served.Add(1)
			}
		})
	}
	log := slog.New(slog.DiscardHandler)
	for range 10 {
		p := New(Options{Domain: "test", Waker: b, Log: log})
		server := newServer(p, log)
		server.farewell = shortFarewell
		l, err := net.FileListener(held)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- server.Serve(l) }()
		for before := served.Load(); served.Load() < before+50 && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
		if t.Failed() {
			stop.Store(true)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := errors.Join(server.Drain(ctx), server.Close(), <-done); err != nil {
			t.Error(err)
		}
		cancel()
		p.Rest(tenant.ID{Service: "app", Name: "a"})
		if stop.Load() {
			break
		}
	}
	stop.Store(true)
	held.Close() // those still waiting are refused
	clients.Wait()
}

func TestUpgradeCountsDataOnly(t *testing.T) {
	b := &backend{}
	address, _ := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(conn, rw)
	}))
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a.app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	head := make([]byte, 4096)
	if n, err := conn.Read(head); err != nil || !strings.Contains(string(head[:n]), "101") {
		t.Fatalf("got %q %v", head[:n], err)
	}
	for _, test := range []struct {
		frame []byte
		want  int64 // touches: one for each direction of the echo
	}{{frame(9, 4, true), 0}, {frame(1, 4, true), 2}} {
		before := b.touched.Load()
		if _, err := conn.Write(test.frame); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, len(test.frame))); err != nil {
			t.Fatal(err)
		}
		if got := b.touched.Load() - before; got != test.want {
			t.Errorf("frame of kind %d: got %d touches, want %d", test.frame[0]&0xf, got, test.want)
		}
	}
}
