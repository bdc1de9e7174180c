package proxy

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

// FuzzFraming: whatever bytes a client sends, the app gets no more requests than net/http
// finds in them, none of them with a method or a name that no request can have.
func FuzzFraming(f *testing.F) {
	const host = "Host: a.app.test\r\n"
	for _, seed := range []string{
		"GET / HTTP/1.1\r\n" + host + "\r\n",
		"GET / HTTP/1.1\r\n" + host + "\r\nGET /2 HTTP/1.1\r\n" + host + "\r\n",
		"POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\n" + host + "\r\n",
		"POST / HTTP/1.1\r\n" + host + "Content-Length: 8500\r\n\r\n" + strings.Repeat("GET /3 HTTP/1.1\r\n", 500) + "GET /2 HTTP/1.1\r\n" + host + "\r\n",
		"POST / HTTP/1.1\r\n" + host + "Content-Length: 8501\r\n\r\n" + strings.Repeat("GET /3 HTTP/1.1\r\n", 500),
		"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: v\r\n\r\nGET /2 HTTP/1.1\r\n" + host + "\r\n",
		"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
		"POST / HTTP/1.0\r\n" + host + "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /2 HTTP/1.1\r\n" + host + "\r\n",
		"POST / HTTP/1.1\r\nHost: zed.nope\r\nContent-Length: 40\r\n\r\nGET /2 HTTP/1.1\r\n" + host + "\r\n",
		"OPTIONS * HTTP/1.1\nHost: a.app.test\nX: y\n z\n\n",
		"GET http://a.app.test/x HTTP/1.1\r\nHost: b\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
	} {
		f.Add([]byte(seed))
	}
	var seen, odd atomic.Int64
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		if r.Host == "" || strings.ContainsAny(r.RequestURI, " \r\n\x00") || r.Header.Get("X-Forwarded-For") != "127.0.0.1" {
			odd.Add(1)
		}
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	log := slog.New(slog.DiscardHandler)
	p := New(Options{Domain: "test", Waker: &backend{address: app.Listener.Addr().String()}, Router: noInstances{}, Log: log})
	server := newServer(p, log)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	f.Cleanup(func() {
		server.Close()
		<-done
		p.Rest(tenant.ID{Service: "app", Name: "a"})
		app.Close()
	})
	var allowed int64 // over all runs: what a run leaves behind may come during the next one
	f.Fuzz(func(t *testing.T, sent []byte) {
		allowed += requestsIn(sent)
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return // no port is left for now
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = conn.Write(sent)
		_ = conn.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatalf("the connection stays open: %v", err)
		}
		if got := seen.Load(); got > allowed || odd.Load() > 0 {
			t.Fatalf("the app has got %d requests of %d, %d of them odd; the last was %q", got, allowed, odd.Load(), sent)
		}
	})
}

// requestsIn counts the requests that net/http finds, until one that is none.
func requestsIn(sent []byte) (n int64) {
	in := bufio.NewReader(bytes.NewReader(sent))
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return n
		}
		n++
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return n
		}
	}
}

// noInstances is a Router without instances.
type noInstances struct{}

func (noInstances) Route(string, string, []tenant.ID) (tenant.ID, bool, error) {
	return tenant.ID{}, false, &tenant.Error{Code: tenant.CodeNotFound}
}
func (noInstances) Domain(string) (tenant.ID, bool) { return tenant.ID{}, false }
