package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// impatient has a server wait for nothing longer than half a second.
func impatient(s *Server) {
	const d = 500 * time.Millisecond
	s.bodySilence, s.http.ReadHeaderTimeout, s.http.IdleTimeout = d, d, d
}

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
	b := &backend{}
	address, _ := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			_ = http.NewResponseController(w).EnableFullDuplex()
			fmt.Fprint(w, "early\n")
			_ = http.NewResponseController(w).Flush()
		}
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	}), impatient)
	const post = "POST %s HTTP/1.1\r\nHost: a.app.test\r\nContent-Length: 10\r\n\r\n"

	_, in := converse(t, address, fmt.Sprintf(post, "/")+"12345")
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 408 || !resp.Close {
		t.Errorf("half a body: got %v, %v, want 408 and a closed connection", resp, err)
	}
	slow, in := converse(t, address, fmt.Sprintf(post, "/"))
	for range 10 {
		time.Sleep(100 * time.Millisecond) // a second in all
		fmt.Fprint(slow, "x")
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("slow body: got %v, %v, want 200", resp, err)
	}
	// When the answer has begun, silence is between the client and the app.
	early, in := converse(t, address, fmt.Sprintf(post, "/early")+"12345")
	resp, err = http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("early answer: got %v, %v, want 200", resp, err)
	}
	time.Sleep(time.Second)
	fmt.Fprint(early, "67890")
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "early\n10 <nil>" {
		t.Errorf("early answer: got %q, %v, want all of the body to arrive", text, err)
	}
	for what, text := range map[string]string{
		"nothing": "", "half a head": "GET / HTTP/1.1\r\nHo", "nothing more": "GET / HTTP/1.1\r\nHost: a.app.test\r\n\r\n",
	} {
		if _, in := converse(t, address, text); !ends(in) {
			t.Errorf("%s: the connection stays open", what)
		}
	}
}

// ends reports whether a connection is closed in the end.
func ends(in *bufio.Reader) bool {
	_, err := io.Copy(io.Discard, in)
	timeout, ok := err.(net.Error)
	return !ok || !timeout.Timeout()
}
