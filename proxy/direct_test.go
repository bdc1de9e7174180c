package proxy

import (
	"context"
	"crypto/tls"
	"errors"
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
	"tenement.dev/test/conformance"
)

// overH2 gives a client that speaks HTTP/2 to a server, until the test ends, and its URL.
func overH2(t *testing.T, server *Server) (*http.Client, string) {
	t.Helper()
	address, config := serveTLS(t, server)
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}, "https://" + address
}

// ask makes a request to a.app.test.
func ask(ctx context.Context, client *http.Client, method, url string, body io.Reader, header ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	req.Host = "a.app.test"
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return client.Do(req)
}

// spareConns is how many unused connections of ours there are.
func spareConns(s *Server) (n int) {
	s.proxy.pools.mu.Lock()
	defer s.proxy.pools.mu.Unlock()
	for _, pool := range s.proxy.pools.byID {
		pool.spare.mu.Lock()
		n += len(pool.spare.conns)
		pool.spare.mu.Unlock()
	}
	return n
}

// TestOverHTTP2: what the app gets and what the client gets are the same on our own way as
// through the reverse proxy, and everything goes our own way for which it is made.
func TestOverHTTP2(t *testing.T) {
	if indirectOnly {
		return // it compares both
	}
	_, ours := serve(t, &backend{}, http.HandlerFunc(mirror))
	_, theirs := serve(t, &backend{}, http.HandlerFunc(mirror), func(s *Server) { s.proxy.direct = false })
	quick, at := overH2(t, ours)
	slow, there := overH2(t, theirs)
	for _, c := range []struct {
		method, path, body string
		header             []string
		odd                bool // the reverse proxy has a part in it
	}{
		{method: "GET", path: "/x?y=%20z&w", header: []string{"Accept", "text/html", "User-Agent", "x", "Cookie", "a=b", "Cookie", "c=d"}},
		{method: "GET", path: "/%C3%A4/a//b?&;=%zz", header: []string{"X-Two", "1", "X-Two", " 2 ", "X-Empty", "", "User-Agent", ""}},
		{method: "GET", path: "/", header: []string{
			"X-Forwarded-For", "1.2.3.4", "Forwarded", "for=x", "X-Forwarded-Proto", "http", "X-Request-Id", "mine", "Tenement-Schedule", "x",
			"Tenement-Hop", "x", "X_Forwarded_For", "1.2.3.4", "X_Other", "y",
		}},
		{method: "GET", path: "/chunks"}, {method: "HEAD", path: "/"}, {method: "HEAD", path: "/chunks", odd: true},
		{method: "POST", path: "/"}, {method: "PUT", path: "/"}, {method: "DELETE", path: "/"}, {method: "OPTIONS", path: "/"},
		{method: "POST", path: "/", body: "hello", odd: true}, {method: "BREW", path: "/", odd: true},
		{method: "GET", path: "/", header: []string{"Te", "trailers"}},
		{method: "GET", path: "/chunks", header: []string{"Te", "trailers"}, odd: true},
		{method: "GET", path: "/", header: []string{"Proxy-Authorization", "x"}, odd: true},
		{method: "GET", path: "/none"}, {method: "GET", path: "/same"}, {method: "GET", path: "/events", odd: true}, {method: "GET", path: "/trailer", odd: true},
		{method: "GET", path: "/large"}, {method: "GET", path: "/strange"}, {method: "GET", path: "/hints", odd: true},
	} {
		name := fmt.Sprintf("%s %s %q %q", c.method, c.path, c.header, c.body)
		var answers, bodies [2]string
		for i, way := range []struct {
			client *http.Client
			url    string
		}{{quick, at}, {slow, there}} {
			var body io.Reader
			if c.body != "" {
				body = strings.NewReader(c.body)
			}
			resp, err := ask(t.Context(), way.client, c.method, way.url+c.path, body, c.header...)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			text, err := io.ReadAll(resp.Body)
			if err != nil || resp.ProtoMajor != 2 {
				t.Errorf("%s: got %v, %s", name, err, resp.Proto)
			}
			resp.Body.Close()
			if id := resp.Header.Get(requestIDHeader); len(id) != requestIDSize || resp.Header.Get("Date") == "" {
				t.Errorf("%s: got the header %v", name, resp.Header)
			}
			for _, name := range []string{requestIDHeader, "Date"} {
				resp.Header.Del(name)
			}
			if c.path == "/chunks" { // there is a length where all is there by chance
				resp.Header.Del("Content-Length")
			}
			answers[i] = fmt.Sprint(resp.Status, resp.Header, resp.Trailer)
			bodies[i] = string(text)
		}
		if answers[0] != answers[1] || bodies[0] != bodies[1] {
			t.Errorf("%s:\ngot  %s %.2000s\nwant %s %.2000s", name, answers[0], bodies[0], answers[1], bodies[1])
		}
		want := 1
		if c.odd {
			want = 0
		}
		if got := spareConns(ours); got != want {
			t.Errorf("%s: %d connections of ours were kept, want %d", name, got, want)
		}
		ours.proxy.Rest(tenant.ID{Service: "app", Name: "a"})
	}
	if got := spareConns(theirs); got != 0 {
		t.Errorf("through the reverse proxy: %d connections of ours were kept", got)
	}
}

// TestTrustedOverHTTP2: what a trusted proxy says of its clients is believed, on both ways.
func TestTrustedOverHTTP2(t *testing.T) {
	_, server := serve(t, &backend{}, http.HandlerFunc(mirror), func(s *Server) {
		s.proxy.trusted = func(netip.Addr) bool { return true }
	})
	client, url := overH2(t, server)
	resp, err := ask(t.Context(), client, "GET", url, nil,
		"X-Forwarded-For", "1.2.3.4", "X-Forwarded-For", "5.6.7.8", "X-Forwarded-Host", "other.test", "X-Forwarded-Proto", "http")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	for _, want := range []string{`X-Forwarded-For: ["1.2.3.4, 5.6.7.8, 127.0.0.1"]`, `X-Forwarded-Host: ["other.test"]`, `X-Forwarded-Proto: ["http"]`} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("got %q, %v, want %s in it", text, err, want)
		}
	}
}

// TestRequestsOverHTTP2 sends what could be attacks.
func TestRequestsOverHTTP2(t *testing.T) {
	f, server := front(t)
	address, config := serveTLS(t, server)
	config.NextProtos = []string{"h2"}
	f.DialH2 = func() (net.Conn, error) { return tls.Dial("tcp", address, config) }
	conformance.H2(t, f)
}

// TestClientGoesOverHTTP2: an app whose client resets its stream while it works is told, and
// the request is counted out; other streams of the connection go on.
func TestClientGoesOverHTTP2(t *testing.T) {
	begun, told := make(chan struct{}), make(chan struct{})
	b := &backend{}
	_, server := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			return
		case "/half":
			w.Header().Set("Content-Length", "1000000")
			fallthrough
		case "/chunks":
			fmt.Fprint(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		begun <- struct{}{}
		<-r.Context().Done()
		told <- struct{}{}
	}))
	client, url := overH2(t, server)
	for _, path := range []string{"/wait", "/half", "/chunks"} {
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() {
			resp, err := ask(ctx, client, "GET", url+path, nil)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			over <- err
		}()
		<-begun
		cancel()
		select {
		case <-told:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: the app is not told", path)
		}
		if err := <-over; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", path, err)
		}
		waitFor(t, func() bool { return b.held.Load() == 0 })
		resp, err := ask(t.Context(), client, "GET", url+"/", nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("behind %s: got %v, %v, want 200", path, resp, err)
		}
		resp.Body.Close()
	}
}

// TestTruncatedOverHTTP2: an answer that the app does not complete does not look complete.
func TestTruncatedOverHTTP2(t *testing.T) {
	_, server := serve(t, &backend{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "100000")
		}
		fmt.Fprint(w, strings.Repeat("x", 50000))
		panic(http.ErrAbortHandler)
	}))
	client, url := overH2(t, server)
	for _, path := range []string{"/length", "/chunks"} {
		resp, err := ask(t.Context(), client, "GET", url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: it looks complete", path)
		}
		resp.Body.Close()
	}
}

// TestPiecesOverHTTP2: what the app has sent, the client gets, while the app goes on.
func TestPiecesOverHTTP2(t *testing.T) {
	goOn := make(chan struct{})
	_, server := serve(t, &backend{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "6")
		}
		for _, part := range []string{"", "one", "two"} {
			fmt.Fprint(w, part)
			_ = http.NewResponseController(w).Flush()
			<-goOn
		}
	}))
	client, url := overH2(t, server)
	for _, path := range []string{"/length", "/chunks"} {
		resp, err := ask(t.Context(), client, "GET", url+path, nil) // the head comes by itself
		if err != nil {
			t.Fatal(err)
		}
		part := make([]byte, 3)
		for _, want := range []string{"one", "two"} {
			goOn <- struct{}{}
			if _, err := io.ReadFull(resp.Body, part); err != nil || string(part) != want {
				t.Errorf("%s: got %q, %v, want %q", path, part, err, want)
			}
		}
		goOn <- struct{}{}
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("%s: got %q, %v behind the body", path, rest, err)
		}
		resp.Body.Close()
	}
}

// TestGivenUpOverHTTP2: connections that the app has closed meanwhile cost no request.
func TestGivenUpOverHTTP2(t *testing.T) {
	if indirectOnly {
		return // there it is a race
	}
	origin := httptest.NewServer(http.HandlerFunc(mirror))
	defer origin.Close()
	b := &backend{address: origin.Listener.Addr().String()}
	_, server := serve(t, b, nil)
	client, url := overH2(t, server)
	for range 20 {
		for _, method := range []string{"GET", "POST"} {
			resp, err := ask(t.Context(), client, method, url, nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("%s: got %v, %v", method, resp, err)
			}
			resp.Body.Close()
			origin.CloseClientConnections()
		}
	}
	if got := b.dials.Load(); got < 20 {
		t.Errorf("got %d connections to the app", got)
	}
}

// TestHeadIsChecked: what net/http should not have let pass is not for an app.
func TestHeadIsChecked(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"":                func(*http.Request) {},
		"line in a value": func(r *http.Request) { r.Header["X-A"] = []string{"b\r\nX-B: c"} },
		"line in a name":  func(r *http.Request) { r.Header["X-A: b\r\nX-B"] = []string{"c"} },
		"line in a host":  func(r *http.Request) { r.Host = "a.app.test\r\nX-B: c" },
		"pseudo-header":   func(r *http.Request) { r.Header[":protocol"] = []string{"websocket"} },
		"no path":         func(r *http.Request) { r.RequestURI = "x" },
		"other host":      func(r *http.Request) { r.RequestURI = "//evil.test/" },
		"address":         func(r *http.Request) { r.RemoteAddr = "1.2.3.4\r\nX-B: c" },
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.Host = "a.app.test"
		change(r)
		d := direct{proxy: New(Options{Domain: "test", Log: slog.New(slog.DiscardHandler)}), r: r}
		r.Header[requestIDHeader] = []string{"x"}
		if head, ok := d.appendHead(nil); ok != (name == "") {
			t.Errorf("%s: got %v, %q", name, ok, head)
		}
	}
}
