package examples

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// startHello runs hello-world, whose netcat Tenement cannot look for: it is not in tenement.toml.
func startHello(t *testing.T) *app {
	t.Helper()
	help, _ := exec.CommandContext(t.Context(), "nc", "-h").CombinedOutput()
	if !strings.HasPrefix(string(help), "OpenBSD netcat") {
		t.Fatalf("nc is not OpenBSD's netcat; on Debian: apt-get install netcat-openbsd (nc -h says %q)", help)
	}
	return start(t, install(t, "hello-world"), "hello")
}

const greeting = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 17\r\nConnection: close\r\n\r\n" +
	"hello from alice\n"

// greets sends a request and checks the answer, byte by byte. As Tenement's proxy does, it tries again when there is no
// answer: a netcat takes one connection, resets those that came behind it, and the next one has to start.
func (a *app) greets(request string) {
	a.t.Helper()
	var got []byte
	var err error
	for begin := time.Now(); time.Since(begin) < soon; {
		conn := a.dial()
		if _, err = io.WriteString(conn, request); err == nil {
			got, err = io.ReadAll(conn)
		}
		_ = conn.Close()
		if len(got) > 0 {
			break
		}
	}
	if string(got) != greeting || err != nil {
		first, _, _ := strings.Cut(request, "\r\n")
		a.t.Errorf("%s: got %q, %v, want %q", first, got, err, greeting)
	}
}

func TestHello(t *testing.T) {
	t.Parallel()
	hello := startHello(t)
	hello.until("answers net/http", func() bool {
		status, text, err := hello.try("GET", "/", "")
		return err == nil && status == 200 && text == "hello from alice\n"
	})
	get := "GET /any?thing HTTP/1.1\r\nHost: alice.hello.localhost\r\n\r\n"
	for range 20 {
		hello.greets(get)
	}
	hello.greets("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1_000_000))
	for range 5 { // probes that say nothing
		_ = hello.dial().Close()
	}
	hello.greets(get)
	half := hello.dial()                                   // a client that leaves in the middle of the head
	_, _ = io.WriteString(half, "GET / HTTP/1.1\r\nHost:") // an error: it was reset behind another connection
	_ = half.Close()
	hello.greets(get)
	reset := hello.dial() // one that resets the connection
	if err := reset.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = reset.Close()
	hello.greets(get)
	hello.onlyLoopback()
	hello.stop(0)
}

// TestHelloReadsTheHead checks that the answer comes after the request's head, not before.
func TestHelloReadsTheHead(t *testing.T) {
	t.Parallel()
	hello := startHello(t)
	hello.greets("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	var got []byte
	hello.until("answers", func() bool { // again when it landed behind another connection
		conn := hello.dial()
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n"); err != nil {
			return false
		}
		if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(make([]byte, 1))
		if n > 0 {
			t.Fatal("got an answer before the head was whole")
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		if err := conn.SetReadDeadline(time.Now().Add(soon)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "\r\n"); err != nil {
			return false
		}
		got, err = io.ReadAll(conn)
		return err == nil
	})
	if string(got) != greeting {
		t.Errorf("got %q, want %q", got, greeting)
	}
}

// TestHelloStops checks that SIGTERM ends it while a client is connected, and that a silent client is dropped.
func TestHelloStops(t *testing.T) {
	t.Parallel()
	hello := startHello(t)
	hello.until("drops a client that says nothing", func() bool {
		n, err := hello.dial().Read(make([]byte, 1))
		return n == 0 && errors.Is(err, io.EOF)
	})
	hello.greets("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	hello.dial()
	hello.stop(0)
}
