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
	"strings"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

// observed has what an Observer was told.
type observed chan told

type told struct {
	service string
	tenant.Served
}

func (o observed) Request(service string, s tenant.Served) { o <- told{service, s} }

// next is what the observer was told next.
func (o observed) next(t *testing.T) told {
	t.Helper()
	select {
	case r := <-o:
		return r
	case <-time.After(10 * time.Second):
		t.Fatal("the observer was not told of the request")
		return told{}
	}
}

// TestObserver makes requests of each kind and looks at what is counted of them.
func TestObserver(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/upgrade":
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "echo")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.CopyN(conn, rw, 5)
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: x\n\n")
		case "/cut":
			panic(http.ErrAbortHandler)
		default:
			n, _ := io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprintf(w, "%d bytes", n)
		}
	}))
	defer origin.Close()
	b := &backend{address: origin.Listener.Addr().String()}
	seen := make(observed, 1)
	log := slog.New(slog.DiscardHandler)
	p := New(Options{Domain: "test", Waker: b, Log: log, Observer: seen})
	ctx, stop := context.WithCancel(t.Context())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(p, log)
	var running sync.WaitGroup
	running.Go(func() { _ = p.Run(ctx) })
	running.Go(func() { _ = server.Serve(l) })
	defer func() { server.Close(); stop(); running.Wait() }()
	defer http.DefaultClient.CloseIdleConnections()
	ask := func(host, path, body string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, "http://"+l.Addr().String()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
	}

	ask("alice.notes.test", "/", "0123456789")
	got := seen.next(t)
	if got.service != "notes" || got.Status != http.StatusTeapot || got.App <= 0 || got.Total < got.App {
		t.Errorf("a request: got %+v, want notes, 418 and its times", got)
	}
	if got, want := b.meter.Traffic(), (tenant.Traffic{Requests: 1, Received: 10, Sent: 8}); got != want {
		t.Errorf("got %+v counted, want %+v", got, want)
	}

	ask("alice.notes.test", "/events", "")
	if got := seen.next(t); got.Status != http.StatusOK || got.App <= 0 || got.Total != 0 {
		t.Errorf("a stream: got %+v, want 200 and no total", got)
	}
	ask("alice.notes.test", "/cut", "x")
	if got := seen.next(t); got.Status != http.StatusBadGateway || got.App != 0 {
		t.Errorf("no answer: got %+v, want 502 and no times", got)
	}
	ask("no_label.notes.test", "/", "")
	if got := seen.next(t); got.service != "" || got.Status != http.StatusBadRequest {
		t.Errorf("a malformed host: got %+v, want no service and 400", got)
	}

	before := b.meter.Traffic()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /upgrade HTTP/1.1\r\nHost: alice.notes.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v, want 101", resp, err)
	}
	fmt.Fprint(conn, "hello")
	if _, err := io.CopyN(io.Discard, in, 5); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if got := seen.next(t); got.Status != http.StatusSwitchingProtocols || got.Total != 0 {
		t.Errorf("another protocol: got %+v, want 101 and no total", got)
	}
	if got, want := b.meter.Traffic().Minus(before), (tenant.Traffic{Requests: 1, Received: 5, Sent: 5}); got != want {
		t.Errorf("another protocol: got %+v counted, want %+v", got, want)
	}
}
