package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

// TestEndedBeforeTheRequest: a process that has ended before a request came to it has not
// ended by that, and the next one serves it, whether the connection is a used one or new.
func TestEndedBeforeTheRequest(t *testing.T) {
	next := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "next") }))
	defer next.Close()
	for name, reused := range map[string]bool{"new connection": false, "used connection": true} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var first net.Conn
			ended := make(chan error, 1)
			b := &backend{}
			b.dial = func(ctx context.Context, n int64) (net.Conn, error) {
				switch {
				case n > 1 && tenant.SameProcess(ctx):
					return nil, tenant.ErrProcessEnded
				case n > 1:
					return net.Dial("tcp", next.Listener.Addr().String())
				}
				var err error
				if first, err = net.Dial("tcp", l.Addr().String()); err != nil {
					return nil, err
				}
				go func() { ended <- serveOnce(l, reused) }()
				if !reused {
					awaitEnd(t, first, <-ended)
				}
				return first, nil
			}
			address, _ := serve(t, b, nil)
			conn := dial(t, address)
			const text = "GET / HTTP/1.1\r\nHost: a.app.test\r\n\r\n"
			if reused {
				if resp := talk(t, conn, text)[0]; resp.StatusCode != 200 {
					t.Fatalf("got %s", resp.Status)
				}
				awaitEnd(t, first, <-ended)
			}
			resp := talk(t, conn, text)[0]
			if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != "next" {
				t.Errorf("got %s %q, want the answer of the next process", resp.Status, body)
			}
		})
	}
}

// serveOnce takes a connection, answers a request if it is to, and closes its end without a
// word of that.
func serveOnce(l net.Listener, answer bool) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	if !answer {
		return nil
	}
	if _, err := conn.Read(make([]byte, 4096)); err != nil {
		return err
	}
	_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
	return err
}

// awaitEnd waits until the other side's end of a connection has come.
func awaitEnd(t *testing.T, conn net.Conn, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
		return
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		over := false
		err := raw.Control(func(fd uintptr) {
			n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			over = n == 0 && err == nil
		})
		if over || err != nil { // or it has been found out and closed already
			return
		}
	}
	t.Error("the connection did not end")
}
