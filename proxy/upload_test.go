package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/rawapp"
)

// smuggled is a request that is in the bodies of uploads: whoever serves it has lost the count.
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.app.test\r\n\r\n"

// uploadOf is a body of so many bytes, of smuggled requests.
func uploadOf(size int) []byte {
	return bytes.Repeat([]byte(smuggled), size/len(smuggled)+1)[:size]
}

func uploadHead(path string, size int) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a.app.test\r\nContent-Length: %d\r\n\r\n", path, size)
}

// hashes answers with the length and the hash of the body.
func hashes(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	n, err := io.Copy(hash, r.Body)
	fmt.Fprintf(w, "%s %s %d %x %v", r.Method, r.RequestURI, n, hash.Sum(nil), err)
}

// overBoth runs a test with connections without TLS, and with it.
func overBoth(t *testing.T, address string, server *Server, test func(t *testing.T, dial func() net.Conn)) {
	t.Run("plain", func(t *testing.T) { test(t, func() net.Conn { return dial(t, address) }) })
	secure, config := serveTLS(t, server)
	t.Run("TLS", func(t *testing.T) {
		test(t, func() net.Conn { return tls.Client(dial(t, secure), config) })
	})
}

// TestUploads: bodies of any size arrive as they are, whether they come at once or in pieces,
// and what is behind them is the next request.
func TestUploads(t *testing.T) {
	b := &backend{}
	address, server := serve(t, b, http.HandlerFunc(hashes))
	overBoth(t, address, server, func(t *testing.T, dial func() net.Conn) {
		conn := dial()
		_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
		in := bufio.NewReader(conn)
		sizes := []int{maxPlain - 100, maxPlain, maxPlain + 1, 100 << 10, 10 << 20}
		for _, size := range sizes {
			body := uploadOf(size)
			want := fmt.Sprintf("POST /up %d %x <nil>", size, sha256.Sum256(body))
			for _, how := range []string{"at once", "the head first", "slowly"} {
				if size > 1<<20 && how != "at once" {
					continue
				}
				before := b.meter.Traffic().Received
				sent := make(chan error, 1)
				go func() { sent <- sendUpload(conn, size, how) }()
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatalf("%d bytes %s: %v", size, how, err)
				}
				got, err := io.ReadAll(resp.Body)
				if err != nil || string(got) != want || resp.Close {
					t.Errorf("%d bytes %s: got %q, close %v, %v, want %q", size, how, got, resp.Close, err, want)
				}
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
				if got := b.meter.Traffic().Received - before; got != int64(size) {
					t.Errorf("%d bytes %s: %d were counted", size, how, got)
				}
			}
		}
		// A body and the next requests, all at once.
		go func() {
			_, _ = conn.Write(append([]byte(uploadHead("/up", 100<<10)), append(uploadOf(100<<10), "GET /next HTTP/1.1\r\nHost: a.app.test\r\n\r\n"...)...))
		}()
		for _, want := range []string{"POST /up 102400 ", "GET /next 0 "} {
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(resp.Body); err != nil || !strings.HasPrefix(string(got), want) {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		}
		if got := onFastOf(server); got != 1 && !slowOnly {
			t.Errorf("%d connections are on the fast path, want 1", got)
		}
		conn.Close()
		waitFor(t, func() bool { return onFastOf(server) == 0 })
	})
	if got := b.dials.Load(); got > 2 && !slowOnly {
		t.Errorf("%d connections to the app were made, want one for each client's", got)
	}
}

// onFastOf is onFast, also of a server without.
func onFastOf(s *Server) int {
	if s.fast == nil {
		return 0
	}
	return onFast(s)
}

// sendUpload sends a request with a body.
func sendUpload(conn net.Conn, size int, how string) error {
	head, body := []byte(uploadHead("/up", size)), uploadOf(size)
	pieces := [][]byte{append(head, body...)}
	switch how {
	case "the head first":
		pieces = [][]byte{head, body}
	case "slowly":
		pieces = [][]byte{append(head, body[:10]...), body[10 : size-1], body[size-1:]}
	}
	for i, piece := range pieces {
		if i > 0 {
			time.Sleep(bodyPatience * 5 / 4) // a client that takes its time
		}
		if _, err := conn.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// TestUploadAnsweredEarly: an app may answer before it has read a body. The client gets the
// answer, also if it sends all first, and hears that the connection ends; nothing of the rest
// is taken for a request.
func TestUploadAnsweredEarly(t *testing.T) {
	var strange atomic.Int64
	b := &backend{}
	address, server := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		switch r.URL.Path {
		case "/refuse":
			_ = control.EnableFullDuplex() // it would read on by itself
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			fmt.Fprint(w, "too much")
		case "/refuse-chunks":
			_ = control.EnableFullDuplex()
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			_ = control.Flush()
			fmt.Fprint(w, "too much")
		case "/refuse-events":
			_ = control.EnableFullDuplex()
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			fmt.Fprint(w, "too much")
		case "/ok":
			fmt.Fprint(w, "ok")
		default:
			strange.Add(1)
		}
	}), func(s *Server) { s.leftoverTime = 500 * time.Millisecond })
	overBoth(t, address, server, func(t *testing.T, dial func() net.Conn) {
		for _, path := range []string{"/refuse", "/refuse-chunks", "/refuse-events"} {
			conn := dial()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			const size = 4 << 20
			if _, err := io.WriteString(conn, uploadHead(path, size)); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = conn.Write(uploadOf(size - 1)) }() // as far as it goes
			in := bufio.NewReader(conn)
			resp, err := http.ReadResponse(in, nil)
			if err != nil || resp.StatusCode != 413 || !resp.Close {
				t.Fatalf("%s: got %v, %v, want 413 and a closed connection", path, resp, err)
			}
			if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "too much" {
				t.Errorf("%s: got %q, %v", path, text, err)
			}
			if !ends(in) {
				t.Errorf("%s: the connection stays open", path)
			}
			conn.Close()
			if resp := talk(t, dial(), "GET /ok HTTP/1.1\r\nHost: a.app.test\r\n\r\n")[0]; resp.StatusCode != 200 {
				t.Errorf("behind %s: got %s", path, resp.Status)
			}
		}
	})
	if got := strange.Load(); got > 0 {
		t.Errorf("of bodies %d requests were made", got)
	}
}

// TestUploadHalfSent: a connection to an app that has not got all of a body is nobody else's.
func TestUploadHalfSent(t *testing.T) {
	address, _, _ := beforeRaw(t)
	early := rawapp.Do(rawapp.Write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly"))
	for _, part := range []int{0, 1 << 10, 100 << 10} {
		_, in := converse(t, address, uploadHead(early, 1<<20)+string(uploadOf(part)))
		if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 200 || !resp.Close {
			t.Fatalf("got %v, %v, want 200 and a closed connection", resp, err)
		}
		resp := talk(t, dial(t, address), "GET / HTTP/1.1\r\nHost: a.app.test\r\n\r\n")[0]
		if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "ok\n" {
			t.Errorf("the next one gets %q, %v", text, err)
		}
	}
}

// TestUploadIsNoRequest: once the client has its early answer, and no request is in flight, a
// drain does not wait for it.
func TestUploadIsNoRequest(t *testing.T) {
	b := &backend{}
	address, server := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(http.StatusUnauthorized)
	}))
	_, in := converse(t, address, uploadHead("/", 1<<30))
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 401 {
		t.Fatalf("got %v, %v, want 401", resp, err)
	}
	waitFor(t, func() bool { return b.held.Load() == 0 })
	if err := server.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if !ends(in) {
		t.Error("the connection stays open")
	}
}

// TestUploadBothWays: an app may answer while it reads, and each side gets what the other has
// said so far.
func TestUploadBothWays(t *testing.T) {
	address, server := serve(t, &backend{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		if r.URL.Path == "/hints" {
			w.WriteHeader(http.StatusEarlyHints)
		}
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", fmt.Sprint(r.ContentLength))
		}
		buf := make([]byte, 1<<10)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = control.Flush()
			if err != nil {
				return
			}
		}
	}))
	overBoth(t, address, server, func(t *testing.T, dial func() net.Conn) {
		for _, path := range []string{"/chunks", "/length", "/hints"} {
			conn := dial()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			const pieces = 64
			piece := uploadOf(1 << 10)
			if _, err := io.WriteString(conn, uploadHead(path, pieces*len(piece))+string(piece)); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(conn)
			resp, err := http.ReadResponse(in, nil)
			for err == nil && resp.StatusCode < 200 {
				resp, err = http.ReadResponse(in, nil)
			}
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			got := make([]byte, len(piece))
			for i := range pieces {
				if _, err := io.ReadFull(resp.Body, got); err != nil || !bytes.Equal(got, piece) {
					t.Fatalf("%s, piece %d: got %.40q, %v", path, i, got, err)
				}
				if i == pieces-1 {
					break
				}
				if _, err := conn.Write(piece); err != nil {
					t.Fatal(err)
				}
			}
			if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
				t.Errorf("%s: got %q, %v behind it", path, rest, err)
			}
			conn.Close()
		}
	})
}

// TestUploadCutShort: a body that the client does not complete is complete to nobody, and
// answered no more.
func TestUploadCutShort(t *testing.T) {
	read := make(chan error, 1)
	b := &backend{}
	address, _ := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/answering" {
			_ = http.NewResponseController(w).EnableFullDuplex()
			_, _ = io.WriteString(w, "begun")
			_ = http.NewResponseController(w).Flush()
		}
		_, err := io.Copy(io.Discard, r.Body)
		read <- err
	}))
	for _, size := range []int{100, 100 << 10, 4 << 20} {
		for _, how := range []string{"half closed", "closed", "answering"} {
			conn := dial(t, address)
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			path := "/"
			if how == "answering" {
				path = "/answering"
			}
			if _, err := conn.Write(append([]byte(uploadHead(path, size)), uploadOf(size/2)...)); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(conn)
			if how == "answering" {
				if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 200 || !resp.Close {
					t.Fatalf("%d bytes: got %v, %v, want 200 and a closed connection", size, resp, err)
				}
			}
			if how == "closed" {
				conn.Close()
			} else if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if err := <-read; err == nil {
				t.Errorf("%d bytes, %s: the app takes it for complete", size, how)
			}
			if how == "half closed" {
				if text, err := io.ReadAll(in); err != nil || len(text) > 0 {
					t.Errorf("%d bytes: got %q, %v, want the connection to be closed", size, text, err)
				}
			}
			waitFor(t, func() bool { return b.held.Load() == 0 })
			conn.Close()
		}
	}
}

// TestUploadAppEnds: an app that ends its connection in the middle of a body has not answered,
// unless it has.
func TestUploadAppEnds(t *testing.T) {
	b := &backend{}
	address, _ := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ok" {
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = io.ReadFull(rw, make([]byte, 100))
		if r.URL.Path == "/says" {
			_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n")
		}
	}))
	for path, want := range map[string]int{"/silent": 502, "/says": 413} {
		for range 5 {
			conn := dial(t, address)
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			const size = 4 << 20
			go func() { _, _ = conn.Write(append([]byte(uploadHead(path, size)), uploadOf(size)...)) }()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != want {
				t.Errorf("%s: got %v, %v, want %d", path, resp, err, want)
			}
			waitFor(t, func() bool { return b.held.Load() == 0 })
			conn.Close()
		}
	}
	if resp := talk(t, dial(t, address), "GET /ok HTTP/1.1\r\nHost: a.app.test\r\n\r\n")[0]; resp.StatusCode != 200 {
		t.Errorf("got %s", resp.Status)
	}
}

// TestUploadWatches: a client that goes away when it has sent all is noticed, before the answer
// has begun and in the middle of it.
func TestUploadWatches(t *testing.T) {
	begun, told := make(chan struct{}), make(chan struct{})
	b := &backend{}
	address, _ := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			_ = http.NewResponseController(w).EnableFullDuplex()
			fmt.Fprint(w, "begun")
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = io.Copy(io.Discard, r.Body)
		begun <- struct{}{}
		<-r.Context().Done()
		told <- struct{}{}
	}))
	for _, path := range []string{"/", "/early"} {
		conn := dial(t, address)
		if _, err := conn.Write(append([]byte(uploadHead(path, 100<<10)), uploadOf(100<<10)...)); err != nil {
			t.Fatal(err)
		}
		leave(t, path, conn, b, begun, told)
	}
}

// TestUploadIsNotLate: an app has its time for an answer from when it has all of the request.
func TestUploadIsNotLate(t *testing.T) {
	b := &backend{timeout: time.Second}
	address, _ := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hints" {
			w.WriteHeader(http.StatusEarlyHints)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/never" {
			<-r.Context().Done()
		}
	}))
	for path, want := range map[string]int{"/": 200, "/hints": 200, "/never": 504} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, address)
			talk(t, conn, "GET / HTTP/1.1\r\nHost: a.app.test\r\n\r\n") // there is a connection to the app then
			in := bufio.NewReader(conn)
			_, _ = io.WriteString(conn, uploadHead(path, 10<<10))
			for range 10 {
				time.Sleep(150 * time.Millisecond) // 1.5 s in all
				fmt.Fprintf(conn, "%01024d", 0)
			}
			resp, err := http.ReadResponse(in, nil)
			for err == nil && resp.StatusCode < 200 {
				resp, err = http.ReadResponse(in, nil)
			}
			if err != nil || resp.StatusCode != want {
				t.Errorf("got %v, %v, want %d", resp, err, want)
			}
		})
	}
}

// failing is a connection whose writes fail from the second one on, as when the app has closed
// its end just now.
type failing struct {
	*net.TCPConn
	writes atomic.Int64
}

func (f *failing) Write(p []byte) (int, error) {
	if f.writes.Add(1) > 1 {
		return 0, syscall.EPIPE
	}
	return f.TCPConn.Write(p)
}

// TestUploadGivenUp: a connection that the app has given up costs no upload of which it has got
// nothing.
func TestUploadGivenUp(t *testing.T) {
	if slowOnly {
		return // it is about what the fast path makes itself
	}
	b := &backend{}
	b.dial = func(ctx context.Context, n int64) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", b.address)
		if err != nil || n > 1 {
			return conn, err
		}
		return &failing{TCPConn: conn.(*net.TCPConn)}, nil
	}
	address, _ := serve(t, b, http.HandlerFunc(hashes))
	conn := dial(t, address)
	upload := uploadHead("/", 100<<10) + string(uploadOf(100<<10))
	resp := talk(t, conn, "GET / HTTP/1.1\r\nHost: a.app.test\r\n\r\n", upload)[1]
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || !strings.HasPrefix(string(body), "POST / 102400 ") {
		t.Errorf("got %s, %q", resp.Status, body)
	}
	if got := b.dials.Load(); got != 2 {
		t.Errorf("%d connections were made, want 2", got)
	}
}

// TestUploadStuck: an app that reads nothing holds up no server that is closed.
func TestUploadStuck(t *testing.T) {
	if slowOnly {
		return // nobody waits for the goroutines of net/http
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := &backend{address: l.Addr().String()}
	address, server := serve(t, b, nil)
	conn := dial(t, address)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = conn.Write([]byte(uploadHead("/", 64<<20)))
		_, _ = conn.Write(uploadOf(64 << 20))
	}()
	app, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	received := func() int64 { return b.meter.Traffic().Received }
	waitFor(t, func() bool { // until all buffers are full
		before := received()
		time.Sleep(50 * time.Millisecond)
		return before > 0 && received() == before
	})
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		server.Close()
	}()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Error("the server does not close")
	}
	<-gone
}

// TestUploadAllocates: little is allocated for an upload, whatever its size.
func TestUploadAllocates(t *testing.T) {
	if slowOnly {
		return
	}
	const size = 64 << 10
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
		answer, buf := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), make([]byte, 1<<20)
		for have := 0; ; {
			n, err := conn.Read(buf[have:])
			if err != nil {
				return
			}
			have += n
			if head := bytes.Index(buf[:have], []byte("\r\n\r\n")); head >= 0 && have >= head+4+size {
				_, _ = conn.Write(answer)
				have = 0
			}
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
	request, buf := append([]byte(uploadHead("/", size)), uploadOf(size)...), make([]byte, 4<<10)
	if got := testing.AllocsPerRun(200, func() {
		_, _ = conn.Write(request)
		if _, err := conn.Read(buf); err != nil {
			t.Fatal(err)
		}
	}); got > 14 {
		t.Errorf("got %v allocations for each upload", got)
	}
}

// TestUploadEndsAsTheHeadComes: whose end has interrupted the wait for the answer's head, when
// that had come, has left the client to be watched by others.
func TestUploadEndsAsTheHeadComes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, ours := dial(t, l.Addr().String()), accept(t, l)
	app := &appConn{Conn: dial(t, l.Addr().String())}
	accept(t, l)
	c := &fastConn{fast: &fast{server: &Server{bodySilence: time.Minute}}, exchange: &exchange{}, conn: ours, ctx: t.Context(), in: make([]byte, 16)}
	u := newUpload(c, nil, 0, 0)
	c.upload = u
	u.begin(app, nil)
	<-u.over
	u.unwait()
	if u.goesOn() {
		t.Error("it is not waited for")
	}
	left := make(chan struct{})
	c.startWatch(func() { close(left) })
	client.Close()
	select {
	case <-left:
	case <-time.After(20 * time.Second):
		t.Error("nobody notices that the client goes away")
	}
	c.stopWatch()
}

// accept gives the next connection, until the test ends.
func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestUploadUnread: an app that reads nothing of a body has the time for its answer, and no
// more: who gives up sending meanwhile is noticed by nobody.
func TestUploadUnread(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // which accepts nobody
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := &backend{address: l.Addr().String(), timeout: 300 * time.Millisecond}
	address, server := serve(t, b, nil)
	const size = 64 << 20
	for name, head := range map[string]string{
		"length": uploadHead("/", size),
		"chunks": fmt.Sprintf("POST / HTTP/1.1\r\nHost: a.app.test\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", size),
	} {
		conn := dial(t, address)
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_, _ = io.WriteString(conn, head)
			_, _ = conn.Write(uploadOf(size))
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusGatewayTimeout || !resp.Close {
			t.Errorf("%s: got %v, %v, want 504 and the end", name, resp, err)
		}
		waitFor(t, func() bool { return b.held.Load() == 0 })
		conn.Close()
		<-gone
	}
	if indirectOnly {
		return
	}
	client, url := overH2(t, server)
	resp, err := ask(t.Context(), client, "POST", url, bytes.NewReader(uploadOf(size)))
	if err != nil || resp.StatusCode != http.StatusGatewayTimeout {
		t.Fatalf("over HTTP/2: got %v, %v, want 504", resp, err)
	}
	resp.Body.Close()
	waitFor(t, func() bool { return b.held.Load() == 0 })
}

// reluctant is a connection to an app that takes a byte for each deadline, until it has taken as
// many as it will.
type reluctant struct {
	net.Conn
	takes int
}

func (r *reluctant) SetWriteDeadline(time.Time) error { return nil }

func (r *reluctant) Write([]byte) (int, error) {
	if r.takes == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	r.takes--
	return 1, os.ErrDeadlineExceeded
}

// TestUploadSlowly: an app that reads slowly is not one that does not read.
func TestUploadSlowly(t *testing.T) {
	u := &upload{}
	w := uploadWriter{u: u, conn: &appConn{Conn: &reluctant{takes: 10}}, timeout: time.Minute}
	if refused, err := w.write(make([]byte, 10)); err != nil || refused {
		t.Errorf("got %v, %v", refused, err)
	}
	if refused, err := w.write(make([]byte, 10)); !isTimeout(err) || refused {
		t.Errorf("an app that takes nothing: got %v, %v", refused, err)
	}
}
