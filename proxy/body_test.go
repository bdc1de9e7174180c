package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// impatient has a server wait for nothing longer than a second.
func impatient(s *Server) {
	const d = time.Second
	s.bodySilence, s.http.ReadHeaderTimeout, s.http.IdleTimeout = d, d, d
}

// patient has a server wait for a piece of a body for far longer than any takes here.
func patient(s *Server) { s.bodySilence = 3 * time.Second }

// converse sends text on a new connection and gives what comes back.
func converse(t *testing.T, address, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(conn, text)
	return conn, bufio.NewReader(conn)
}

// TestSilence: a client that stops in the middle of a body gets 408, one that never begins
// or goes on is hung up on, and one that is slow is not.
func TestSilence(t *testing.T) {
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			_ = http.NewResponseController(w).EnableFullDuplex()
			fmt.Fprint(w, "early\n")
			_ = http.NewResponseController(w).Flush()
		}
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})
	short, _ := serve(t, &backend{}, app, impatient)
	long, _ := serve(t, &backend{}, app, patient)
	const post = "POST %s HTTP/1.1\r\nHost: a.app.test\r\nContent-Length: 10\r\n\r\n"
	for name, test := range map[string]func(t *testing.T){
		"half a body": func(t *testing.T) {
			_, in := converse(t, short, fmt.Sprintf(post, "/")+"12345")
			if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 408 || !resp.Close {
				t.Errorf("got %v, %v, want 408 and a closed connection", resp, err)
			}
		},
		"slow body": func(t *testing.T) {
			client, in := converse(t, long, fmt.Sprintf(post, "/"))
			for range 10 {
				time.Sleep(350 * time.Millisecond) // 3.5 s in all
				fmt.Fprint(client, "x")
			}
			if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 200 {
				t.Errorf("got %v, %v, want 200", resp, err)
			}
		},
		// When the answer has begun, silence is between the client and the app.
		"early answer": func(t *testing.T) {
			client, in := converse(t, long, fmt.Sprintf(post, "/early")+"12345")
			resp, err := http.ReadResponse(in, nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("got %v, %v, want 200", resp, err)
			}
			time.Sleep(3500 * time.Millisecond)
			fmt.Fprint(client, "67890")
			if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "early\n10 <nil>" {
				t.Errorf("got %q, %v, want all of the body to arrive", text, err)
			}
		},
		"nothing": func(t *testing.T) {
			for what, text := range map[string]string{
				"nothing": "", "half a head": "GET / HTTP/1.1\r\nHo", "nothing more": "GET / HTTP/1.1\r\nHost: a.app.test\r\n\r\n",
			} {
				if _, in := converse(t, short, text); !ends(in) {
					t.Errorf("%s: the connection stays open", what)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

// TestLeftover: a client that never sends the rest of a body that nobody wanted, however little
// that is, is hung up on.
func TestLeftover(t *testing.T) {
	const size = 100 << 10
	address, _ := serve(t, &backend{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.ReadFull(r.Body, make([]byte, size-1))
		time.Sleep(10 * time.Millisecond) // the proxy waits for the last byte meanwhile
		fmt.Fprint(w, "early")
	}), func(s *Server) { s.leftoverTime = 500 * time.Millisecond })
	_, in := converse(t, address, fmt.Sprintf("POST / HTTP/1.1\r\nHost: a.app.test\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size-1)))
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 200 || !resp.Close {
		t.Fatalf("got %v, %v, want 200 and a closed connection", resp, err)
	}
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "early" {
		t.Errorf("got %q, %v", text, err)
	}
	if !ends(in) {
		t.Error("the connection stays open")
	}
}

// ends reports whether a connection is closed in the end.
func ends(in *bufio.Reader) bool {
	_, err := io.Copy(io.Discard, in)
	timeout, ok := err.(net.Error)
	return !ok || !timeout.Timeout()
}
