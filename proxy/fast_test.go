package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

// talk sends requests on one connection, each when the one before has been answered, and
// gives the answers.
func talk(t *testing.T, conn net.Conn, requests ...string) []*http.Response {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(conn)
	var list []*http.Response
	for _, text := range requests {
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		method, _, _ := strings.Cut(text, " ")
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		list = append(list, resp)
	}
	return list
}

// dial connects to a server until the test ends.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// onFast is how many connections are on the fast path.
func onFast(s *Server) int {
	s.fast.mu.Lock()
	defer s.fast.mu.Unlock()
	return len(s.fast.conns)
}

// mirror tells what it has got, and answers in the way that its path names.
func mirror(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var told []string
	for name, values := range r.Header {
		if name != requestIDHeader && name != hopHeader {
			told = append(told, fmt.Sprintf("%s: %q", name, values))
		}
	}
	slices.Sort(told)
	text := fmt.Sprintf("%s %s of %s: %q, length %d %v\n%s\n", r.Method, r.RequestURI, r.Host, body, r.ContentLength, r.TransferEncoding, strings.Join(told, "\n"))
	switch r.URL.Path {
	case "/chunks":
		for part := range strings.SplitSeq(text, "\n") {
			fmt.Fprintln(w, part)
			_ = http.NewResponseController(w).Flush()
		}
		return
	case "/none":
		w.WriteHeader(http.StatusNoContent)
		return
	case "/same":
		w.WriteHeader(http.StatusNotModified)
		return
	case "/hints":
		w.Header().Set("Link", "</a>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
	case "/trailer":
		w.Header().Set("Trailer", "X-End")
		defer w.Header().Set("X-End", "the end")
	case "/large":
		text += strings.Repeat("0123456789abcdef", 64<<10)
	case "/policy":
		w.Header().Set("Strict-Transport-Security", "max-age=1")
	case "/strange":
		w.WriteHeader(299)
	}
	w.Header()["X-Two"] = []string{"one", "two"}
	w.Header().Set("X-Request-Id", "the app's")
	if r.URL.Path != "/chunks" && r.URL.Path != "/trailer" {
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	}
	_, _ = io.WriteString(w, text)
}

// TestBothPaths: what the app gets and what the client gets are the same on the fast path and
// without it, and everything stays there for which it is made.
func TestBothPaths(t *testing.T) {
	if slowOnly {
		return // it compares both
	}
	t.Run("awake", func(t *testing.T) { comparePaths(t, &backend{}) })
	t.Run("resting", func(t *testing.T) {
		b := &backend{}
		b.resting.Store(true)
		comparePaths(t, b)
	})
}

// comparePaths makes requests to b on the fast path, and without it.
func comparePaths(t *testing.T, b *backend) {
	quick, server := serve(t, b, http.HandlerFunc(mirror))
	slow, _ := serve(t, &backend{}, http.HandlerFunc(mirror), func(s *Server) { s.fast = nil })
	const tail = " HTTP/1.1\r\nHost: a.app.test\r\n"
	for _, text := range []string{
		"GET /x?y=%20z&w" + tail + "Accept: text/html\r\nUser-Agent: x\r\ncookie: a=b\r\nCookie: c=d\r\n\r\n",
		"GET /" + tail + "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=x\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine\r\n\r\n",
		"GET /chunks" + tail + "\r\n",
		"HEAD /" + tail + "\r\n",
		"HEAD /chunks" + tail + "\r\n",
		"POST /" + tail + "Content-Length: 5\r\n\r\nhello",
		"POST /" + tail + "\r\n",
		"PUT /" + tail + "Content-Length: 0\r\n\r\n",
		"GET /" + tail + "Content-Length: 5\r\n\r\nhello",
		"DELETE /" + tail + "Connection: keep-alive\r\n\r\n",
		"GET /none" + tail + "\r\n", "GET /same" + tail + "\r\n", "GET /events" + tail + "\r\n", "GET /trailer" + tail + "\r\n",
		"GET /large" + tail + "\r\n", "GET /strange" + tail + "\r\n",
		"POST /" + tail + "Content-Length: 5\r\nConnection: close\r\n\r\nhello",
	} {
		one, two := dial(t, quick), dial(t, slow)
		got, want := talk(t, one, text)[0], talk(t, two, text)[0]
		fetches := want.Request.Method == http.MethodGet || want.Request.Method == http.MethodHead
		stays := !want.Close && (!b.resting.Load() || fetches && !strings.Contains(text, "hello"))
		if n := onFast(server); n != 1 && stays {
			t.Errorf("%q: %d connections are on the fast path, want 1", text, n)
		}
		for _, resp := range []*http.Response{got, want} {
			if id := resp.Header.Get(requestIDHeader); len(id) != requestIDSize {
				t.Errorf("%q: got id %q", text, id)
			}
			resp.Header.Del(requestIDHeader)
			if resp.Header.Get("Date") == "" {
				t.Errorf("%q: no date", text)
			}
			resp.Header.Del("Date")
		}
		a, _ := io.ReadAll(got.Body)
		b, _ := io.ReadAll(want.Body)
		if got.Status != want.Status || got.Close != want.Close || got.ContentLength != want.ContentLength ||
			fmt.Sprint(got.Header, got.TransferEncoding, got.Trailer) != fmt.Sprint(want.Header, want.TransferEncoding, want.Trailer) {
			t.Errorf("%q:\ngot  %s %v %v, length %d, close %v, %v\nwant %s %v %v, length %d, close %v, %v", text,
				got.Status, got.Header, got.TransferEncoding, got.ContentLength, got.Close, got.Trailer,
				want.Status, want.Header, want.TransferEncoding, want.ContentLength, want.Close, want.Trailer)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%q:\ngot  %.2000s\nwant %.2000s", text, a, b)
		}
		one.Close()
		two.Close()
		waitFor(t, func() bool { return onFast(server) == 0 })
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

// TestStays: a connection whose request waits for a wake stays on the fast path, and so does one
// whose request is refused. A client that goes away meanwhile waits no longer.
func TestStays(t *testing.T) {
	if slowOnly {
		return // there is nowhere to stay
	}
	const tail = " HTTP/1.1\r\nHost: a.app.test\r\n\r\n"
	asked, wake, left := make(chan struct{}), make(chan error), make(chan struct{}, 1)
	b := &backend{}
	b.waking = func(ctx context.Context) error {
		asked <- struct{}{}
		select {
		case err := <-wake:
			b.resting.Store(err != nil)
			return err
		case <-ctx.Done():
			left <- struct{}{}
			return &tenant.Error{Code: tenant.CodeUnavailable, Msg: "left", Err: ctx.Err()}
		}
	}
	address, server := serve(t, b, http.HandlerFunc(mirror))
	conn := dial(t, address)
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(conn)
	answer := func(status int, part string) {
		t.Helper()
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status || !strings.Contains(string(body), part) {
			t.Errorf("got %s %q %v, want %d with %q", resp.Status, body, err, status, part)
		}
		if n := onFast(server); n != 1 {
			t.Errorf("%q: %d connections are on the fast path, want 1", part, n)
		}
	}

	b.resting.Store(true)
	fmt.Fprint(conn, "GET /refused"+tail)
	<-asked
	wake <- &tenant.Error{Code: tenant.CodeNotFound, Msg: "there is no such instance"}
	answer(http.StatusNotFound, "there is no such instance")

	fmt.Fprint(conn, "GET /first"+tail)
	<-asked
	fmt.Fprint(conn, "GET /second"+tail) // before the first is answered
	wake <- nil
	answer(http.StatusOK, "GET /first of")
	answer(http.StatusOK, "GET /second of")

	b.resting.Store(true)
	fmt.Fprint(conn, "GET /third"+tail)
	<-asked
	conn.Close()
	select {
	case <-left:
	case <-time.After(20 * time.Second):
		t.Fatal("the wake of a client that has gone away is still waited for")
	}
	waitFor(t, func() bool { return onFast(server) == 0 })
}

// TestHandOver: a connection that begins plainly may go on in any way.
func TestHandOver(t *testing.T) {
	address, _ := serve(t, &backend{}, http.HandlerFunc(mirror))
	const tail = " HTTP/1.1\r\nHost: a.app.test\r\n"
	conn := dial(t, address)
	for i, resp := range talk(t, conn,
		"GET /1"+tail+"\r\n", "POST /2"+tail+"Content-Length: 3\r\n\r\nabc", "\r\nGET /3"+tail+"\r\n",
		"POST /4"+tail+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "GET /5"+tail+"\r\n") {
		body, _ := io.ReadAll(resp.Body)
		if want := fmt.Sprintf(" /%d of", i+1); !strings.Contains(string(body), want) {
			t.Errorf("got %q, want %q in it", body, want)
		}
	}
	// All at once, and the last one is refused.
	conn = dial(t, address)
	fmt.Fprint(conn, "GET /1"+tail+"\r\nPOST /2"+tail+"Content-Length: 3\r\n\r\nabcGET /3"+tail+"\r\nGET /4"+tail+"A : b\r\n\r\nGET /5"+tail+"\r\n")
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(conn)
	for _, want := range []int{200, 200, 200, 400} {
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != want {
			t.Fatalf("got %v, %v, want %d", resp, err, want)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	if _, err := in.ReadByte(); err == nil {
		t.Error("something comes behind a refusal")
	}
}

// TestClientGoes: an app whose client goes away while it works is told, and the request is
// counted out.
func TestClientGoes(t *testing.T) {
	begun, told := make(chan struct{}), make(chan struct{})
	b := &backend{}
	address, _ := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" {
			w.Header().Set("Content-Length", "1000000")
			fmt.Fprint(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		begun <- struct{}{}
		<-r.Context().Done()
		told <- struct{}{}
	}))
	for _, path := range []string{"/", "/half"} {
		conn := dial(t, address)
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a.app.test\r\n\r\n", path)
		leave(t, path, conn, b, begun, told)
	}
}

// leave closes a client's connection when its request has begun: the app is told, and the request
// is counted out.
func leave(t *testing.T, path string, conn net.Conn, b *backend, begun, told <-chan struct{}) {
	t.Helper()
	<-begun
	conn.Close()
	select {
	case <-told:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: the app is not told", path)
	}
	waitFor(t, func() bool { return b.held.Load() == 0 })
}

// TestGivenUp: connections that the app has closed meanwhile cost no request, whether or not
// it may be made again.
func TestGivenUp(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(mirror))
	defer origin.Close()
	var app atomic.Value
	b := &backend{}
	b.dial = func(context.Context, int64) (net.Conn, error) {
		conn, err := net.Dial("tcp", origin.Listener.Addr().String())
		if err == nil {
			app.Store(conn)
		}
		return conn, err
	}
	address, _ := serve(t, b, nil)
	conn := dial(t, address)
	for range 20 {
		for _, method := range []string{"GET", "POST"} {
			if method == "POST" && slowOnly {
				continue // there it is a race
			}
			resp := talk(t, conn, method+" / HTTP/1.1\r\nHost: a.app.test\r\n\r\n")[0]
			if resp.StatusCode != 200 {
				t.Fatalf("%s: got %s", method, resp.Status)
			}
			origin.CloseClientConnections()
			if !slowOnly {
				awaitEnd(t, app.Load().(net.Conn), nil)
			}
		}
	}
	if got := b.dials.Load(); got < 20 {
		t.Errorf("got %d connections to the app", got)
	}
}

// leaver is a connection whose client goes away as soon as it has its answer; that is heard
// of when told is closed, and sooner by nobody.
type leaver struct {
	net.Conn
	reads            atomic.Int32
	once             sync.Once
	late, left, told chan struct{} // late is closed by a deadline that has passed
}

func (l *leaver) Read(p []byte) (int, error) {
	if l.reads.Add(1) == 1 {
		return l.Conn.Read(p)
	}
	<-l.late
	select {
	case <-l.left:
		<-l.told
		return 0, io.EOF
	default:
		return 0, os.ErrDeadlineExceeded
	}
}

func (l *leaver) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		l.once.Do(func() { close(l.late) })
	}
	return nil
}

func (l *leaver) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	select {
	case <-l.left:
	case <-time.After(20 * time.Second):
	}
	return n, err
}

// TestGoneWithTheAnswer: a client that goes away as soon as it has its answer, which has taken
// a while, ends no connection to the app that another one's request is on by then.
func TestGoneWithTheAnswer(t *testing.T) {
	if slowOnly {
		return
	}
	left, told := make(chan struct{}), make(chan struct{})
	var server *Server
	address, s := serve(t, &backend{}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			time.Sleep(2 * firstLook) // the client is looked after meanwhile
		case "/next":
			close(told)
			for end := time.Now().Add(20 * time.Second); onFast(server) > 1 && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
		}
	}))
	server = s
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first := dial(t, l.Addr().String())
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server.fast.begin(&leaver{Conn: conn, late: make(chan struct{}), left: left, told: told})
	if resp := talk(t, first, "GET /slow HTTP/1.1\r\nHost: a.app.test\r\nConnection: close\r\n\r\n")[0]; resp.StatusCode != 200 {
		t.Fatalf("got %s", resp.Status)
	}
	first.Close()
	close(left)
	if resp := talk(t, dial(t, address), "GET /next HTTP/1.1\r\nHost: a.app.test\r\n\r\n")[0]; resp.StatusCode != 200 {
		t.Errorf("another one's request: got %s, want 200", resp.Status)
	}
}

// TestTruncated: an answer that the app does not complete does not look complete.
func TestTruncated(t *testing.T) {
	address, _ := serve(t, &backend{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/length":
			w.Header().Set("Content-Length", "100000")
		case "/size": // the head and what is no chunk come together
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nok")
			conn.Close()
			return
		}
		fmt.Fprint(w, strings.Repeat("x", 50000))
		panic(http.ErrAbortHandler)
	}))
	for _, path := range []string{"/length", "/chunks", "/size"} {
		conn := dial(t, address)
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a.app.test\r\n\r\n", path)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %v, want it to be cut off", path, err)
		}
	}
}

// TestSecurePolicy: clients of TLS are told of it on the fast path, before anything that the app
// says of that, and the app is.
func TestSecurePolicy(t *testing.T) {
	_, server := serve(t, &backend{}, http.HandlerFunc(mirror), func(s *Server) {
		s.http.Handler = s.bounded(HTTPS{HSTS: time.Hour}.Handler(s.proxy))
		if s.fast != nil {
			s.Fast(HTTPS{HSTS: time.Hour})
		}
	})
	address, config := serveTLS(t, server)
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, path := range []string{"/", "/chunks", "/large", "/hints", "/trailer", "/policy"} {
		if path == "/hints" {
			continue
		}
		resp := talk(t, conn, "GET "+path+" HTTP/1.1\r\nHost: a.app.test\r\n\r\n")[0]
		body, _ := io.ReadAll(resp.Body)
		if got := resp.Header["Strict-Transport-Security"]; len(got) != 1 && path != "/policy" || got[0] != "max-age=3600" || !strings.Contains(string(body), `X-Forwarded-Proto: ["https"]`) {
			t.Errorf("%s: got %q and %.500q", path, got, body)
		}
	}
}

// TestFastAllocates: on the fast path nothing is allocated for a request, but for the lease
// that counts it in.
func TestFastAllocates(t *testing.T) {
	if slowOnly {
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { // an app that allocates nothing either
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		answer, buf := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello"), make([]byte, 4<<10)
		for {
			if _, err := conn.Read(buf); err != nil {
				return
			}
			_, _ = conn.Write(answer)
		}
	})
	defer running.Wait()
	defer l.Close()
	p := New(Options{Domain: "test", Waker: &always{backend{address: l.Addr().String()}}, Log: slog.New(slog.DiscardHandler)})
	server := newServer(p, slog.New(slog.DiscardHandler))
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	running.Go(func() { _ = server.Serve(front) })
	defer p.Rest(tenant.ID{Service: "app", Name: "a"})
	defer server.Close()
	conn := dial(t, front.Addr().String())
	request, buf := []byte("GET /x HTTP/1.1\r\nHost: a.app.test\r\nUser-Agent: curl\r\nAccept: */*\r\n\r\n"), make([]byte, 4<<10)
	if got := testing.AllocsPerRun(500, func() {
		_, _ = conn.Write(request)
		if _, err := conn.Read(buf); err != nil {
			t.Fatal(err)
		}
	}); got >= 1 {
		t.Errorf("got %v allocations for each request", got)
	}
}

// always is a backend that counts nothing.
type always struct{ backend }

func (b *always) AcquireAwake(tenant.ID, tenant.Visit, tenant.Endpoint) (tenant.Endpoint, func(), bool) {
	return b, func() {}, true
}
