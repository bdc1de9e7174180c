package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serveTLS adds a listener for TLS to a server, and gives its address and a client's
// configuration.
func serveTLS(t *testing.T, server *Server) (string, *tls.Config) {
	t.Helper()
	other := httptest.NewTLSServer(nil)
	certificates := other.TLS.Certificates
	other.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- server.Serve(tls.NewListener(l, &tls.Config{Certificates: certificates, NextProtos: []string{"h2", "http/1.1"}}))
	}()
	t.Cleanup(func() {
		server.Close()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String(), &tls.Config{InsecureSkipVerify: true} //nolint:gosec // as httptest's certificate is nobody's
}

// TestSecure: clients of TLS get the protocol that they ask for, those of HTTP/1 behind
// the same care as without TLS; the app hears that it is TLS.
func TestSecure(t *testing.T) {
	_, server := serve(t, &backend{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Forwarded-Proto"))
	}))
	address, config := serveTLS(t, server)
	for _, c := range []struct {
		protocols []string
		want      string
	}{
		{nil, "HTTP/1.1"}, {[]string{"http/1.1"}, "HTTP/1.1"}, {[]string{"h2", "http/1.1"}, "HTTP/2.0"},
	} {
		with := config.Clone()
		with.NextProtos = c.protocols
		client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: with, ForceAttemptHTTP2: len(c.protocols) > 1}}
		for range 2 {
			req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+address, nil)
			req.Host = "a.app.test"
			resp, err := client.Do(req)
			if err != nil {
				t.Fatalf("%v: %v", c.protocols, err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.Proto != c.want || resp.StatusCode != 200 || string(body) != "https" {
				t.Errorf("%v: got %s %s %q, want %s", c.protocols, resp.Proto, resp.Status, body, c.want)
			}
		}
		client.CloseIdleConnections()
		if c.want != "HTTP/1.1" {
			continue
		}
		conn, err := tls.Dial("tcp", address, with)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprint(conn, "GET / HTTP/1.1\nHost: a.app.test\n\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 400 {
			t.Errorf("%v: bare LF: got %v, %v, want 400", c.protocols, resp, err)
		}
	}
	// One who does not speak TLS is told so.
	conn, in := converse(t, address, "GET / HTTP/1.1\r\nHost: a.app.test\r\n\r\n")
	if text, _ := io.ReadAll(in); !strings.Contains(string(text), "400 Bad Request") {
		t.Errorf("without TLS: got %q", text)
	}
	conn.Close()
}

// TestHandshakes: they do not go on for ever, hold nobody up, and end with the server.
func TestHandshakes(t *testing.T) {
	closed := func(in *bufio.Reader) {
		t.Helper()
		var timeout net.Error
		if _, err := in.ReadByte(); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("got %v, want a closed connection", err)
		}
	}
	_, server := serve(t, &backend{}, http.NotFoundHandler(), impatient)
	address, _ := serveTLS(t, server)
	_, in := converse(t, address, "\x16\x03\x01")
	closed(in)

	_, server = serve(t, &backend{}, http.NotFoundHandler())
	address, config := serveTLS(t, server)
	_, in = converse(t, address, "\x16\x03\x01")
	waitFor(t, func() bool { return server.open() == 1 })
	conn, err := tls.Dial("tcp", address, config) // meanwhile
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	waitFor(t, func() bool { return server.open() == 1 })
	server.Close()
	closed(in)
	if n := server.open(); n != 0 {
		t.Errorf("%d connections are followed still", n)
	}
}
