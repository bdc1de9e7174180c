package conformance_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tenement.dev/test/harness"
	"tenement.dev/test/rawapp"
)

// client is one connection, on which a test says and hears everything by itself.
type client struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func (s *server) client(t *testing.T) *client {
	t.Helper()
	conn, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * harness.Timeout))
	return &client{t, conn, bufio.NewReader(conn)}
}

// say sends a request to an instance: the first line without its version, header lines.
func (c *client) say(line, id string, header ...string) {
	c.t.Helper()
	c.send(line + " HTTP/1.1\r\nHost: " + harness.Host(id) + "\r\n" + strings.Join(append(header, "\r\n"), "\r\n"))
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, strings.Replace(text, "\r\n\r\n\r\n", "\r\n\r\n", 1)); err != nil {
		c.t.Fatal(err)
	}
}

// hear reads an answer with its body.
func (c *client) hear(method string) (resp *http.Response, body string, err error) {
	c.t.Helper()
	resp, err = http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		return nil, "", err
	}
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	return resp, string(text), err
}

// want is hear for an answer that must be so.
func (c *client) want(status int, body string) *http.Response {
	c.t.Helper()
	resp, got, err := c.hear("GET")
	for err == nil && resp.StatusCode == 100 && status != 100 {
		resp, got, err = c.hear("GET") // there may be any number
	}
	if err != nil || resp.StatusCode != status || body != "*" && got != body {
		c.t.Fatalf("got %v %.200q, %v, want %d %q", resp, got, err, status, body)
	}
	return resp
}

// closed checks that nothing more comes.
func (c *client) closed() {
	c.t.Helper()
	if b, err := c.in.ReadByte(); err == nil || isTimeout(err) {
		c.t.Errorf("got %q, %v, want a closed connection", b, err)
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

const said = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// cases are what clients and apps may do, and must be able to rely on.
var cases = map[string]func(*testing.T, *server){
	"HTTP-1.0": func(t *testing.T, s *server) {
		c := s.client(t)
		fmt.Fprintf(c, "GET /x HTTP/1.0\r\nHost: %s\r\n\r\n", harness.Host("raw:eve"))
		c.want(200, "ok\n")
		c.closed()
	},
	"HTTP-1.0 that keeps its connection": func(t *testing.T, s *server) {
		c := s.client(t)
		for range 3 {
			fmt.Fprintf(c, "GET /x HTTP/1.0\r\nHost: %s\r\nConnection: keep-alive\r\n\r\n", harness.Host("raw:eve"))
			if resp := c.want(200, "ok\n"); resp.Header.Get("Connection") != "keep-alive" {
				t.Errorf("Connection: got %q", resp.Header.Get("Connection"))
			}
		}
		// It knows no chunks: the end of a body without a length is that of the connection.
		fmt.Fprintf(c, "GET %s HTTP/1.0\r\nHost: %s\r\nConnection: keep-alive\r\n\r\n",
			rawapp.Do(rawapp.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")), harness.Host("raw:eve"))
		if resp := c.want(200, "ok"); resp.TransferEncoding != nil {
			t.Errorf("got chunks: %v", resp.TransferEncoding)
		}
		c.closed()
	},
	"chunks both ways": func(t *testing.T, s *server) {
		c := s.client(t)
		c.say("POST /upload", "app:alice", "Transfer-Encoding: chunked")
		for _, size := range []int{1, 10, 5000, 70000} {
			c.send(fmt.Sprintf("%x\r\n%s\r\n", size, strings.Repeat("x", size)))
		}
		c.send("0\r\n\r\n")
		c.want(200, "75011\n")
		c.say("GET /download?n=3&ms=10", "app:alice")
		if resp := c.want(200, "line 0\nline 1\nline 2\n"); len(resp.TransferEncoding) != 1 {
			t.Errorf("got %v, want chunks", resp.TransferEncoding)
		}
	},
	"trailers to the client": func(t *testing.T, s *server) {
		c := s.client(t)
		c.say("GET "+rawapp.Do(rawapp.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n")), "raw:eve", "TE: trailers")
		if resp := c.want(200, "ok"); resp.Trailer.Get("X-Sum") != "7" {
			t.Errorf("got trailers %v", resp.Trailer)
		}
	},
	"expectation met by the app": func(t *testing.T, s *server) {
		c := s.client(t)
		c.say("POST "+rawapp.Do(rawapp.Write("HTTP/1.1 100 Continue\r\n\r\n"), "body", rawapp.Write(said)), "raw:eve", "Expect: 100-continue", "Content-Length: 5")
		c.want(100, "")
		c.send("hello")
		c.want(200, "ok")
		c.say("GET /x", "raw:eve")
		c.want(200, "ok\n")
	},
	"expectation that the app knows nothing of": func(t *testing.T, s *server) {
		c := s.client(t)
		c.say("POST /x", "raw:eve", "Expect: 100-continue", "Content-Length: 5")
		c.want(100, "")
		c.send("hello")
		c.want(200, "ok\n")
	},
	"expectation refused without the body": func(t *testing.T, s *server) {
		for _, status := range []string{"417 Expectation Failed", "401 Unauthorized"} {
			c := s.client(t)
			c.say("POST "+rawapp.Do(rawapp.Write("HTTP/1.1 "+status+"\r\nContent-Length: 2\r\n\r\nno"), "close"), "raw:eve", "Expect: 100-continue", "Content-Length: 1000000")
			resp, body, err := c.hear("POST")
			for err == nil && resp.StatusCode == 100 { // as the app's answer is no close, net/http begins to read for it
				resp, body, err = c.hear("POST")
			}
			if err != nil || resp.Status != status || body != "no" {
				t.Errorf("got %v %q, %v, want %s before the body", resp, body, err, status)
			}
		}
	},
	"early hints": func(t *testing.T, s *server) {
		c := s.client(t)
		c.say("GET "+rawapp.Do(rawapp.Write("HTTP/1.1 103 Early Hints\r\nLink: </x.css>\r\n\r\n"), "sleep=50", rawapp.Write(said)), "raw:eve")
		if resp := c.want(103, ""); resp.Header.Get("Link") != "</x.css>" {
			t.Errorf("got %v", resp.Header)
		}
		if resp := c.want(200, "ok"); resp.Header.Get("Link") != "" || resp.Header.Get("Content-Type") != "" || resp.Header.Get("X-Request-Id") == "" {
			t.Errorf("got %v", resp.Header)
		}
	},
	"answer before the body's end": func(t *testing.T, s *server) {
		c := s.client(t)
		c.say("POST "+rawapp.Do("part", rawapp.Write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbe"), "body", rawapp.Write("en")), "raw:eve", "Transfer-Encoding: chunked")
		c.send("5\r\nhello\r\n")
		resp, err := http.ReadResponse(c.in, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("got %v, %v", resp, err)
		}
		c.send("5\r\nhello\r\n0\r\n\r\n")
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "been" {
			t.Errorf("got %q, %v, want been", body, err)
		}
	},
	"refusal before the body's end": func(t *testing.T, s *server) {
		c := s.client(t)
		c.say("POST "+rawapp.Do(rawapp.Write("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"), "close"), "raw:eve", "Content-Length: 100000000")
		c.want(413, "no") // though the body is never sent
		c.closed()
	},
	"refusal of a name before the body": func(t *testing.T, s *server) {
		c := s.client(t)
		c.say("POST /x", "raw:nobody", "Content-Length: 100")
		c.want(404, "*") // before the body
		// What comes of the body after that is no request.
		other := s.client(t)
		other.say("POST /x", "raw:nobody", "Content-Length: 100")
		other.want(404, "*")
		other.send("GET /smuggled HTTP/1.1\r\nHost: " + harness.Host("raw:eve") + "\r\n\r\n")
		c.closed()
		other.closed()
	},
	"pipeline": func(t *testing.T, s *server) {
		c := s.client(t)
		var all strings.Builder
		for n := range 20 {
			fmt.Fprintf(&all, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 5\r\n\r\nhello",
				rawapp.Do("body", rawapp.Write(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d", n))), harness.Host("raw:eve"))
		}
		c.send(all.String())
		for n := range 20 {
			c.want(200, fmt.Sprintf("%02d", n))
		}
	},
	"client that says it is done": func(t *testing.T, s *server) {
		c := s.client(t)
		c.say("GET "+rawapp.Do("sleep=100", rawapp.Write(said)), "raw:frank")
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		// It counts as gone; it may be answered all the same, and nothing is left of it.
		if _, _, err := c.hear("GET"); isTimeout(err) {
			t.Error("the connection stays open")
		}
		awaitIdle(t, s, "raw:frank")
	},
	"client that leaves in the middle of its body": func(t *testing.T, s *server) {
		c := s.client(t)
		c.say("POST /x", "raw:frank", "Content-Length: 100")
		c.send("hello")
		c.Close()
		awaitIdle(t, s, "raw:frank")
	},
	"huge head": func(t *testing.T, s *server) {
		for _, line := range []string{"GET /" + strings.Repeat("x", 100<<10), "GET / HTTP/1.1\r\nX-A: " + strings.Repeat("x", 100<<10)} {
			c := s.client(t)
			_, _ = io.WriteString(c, line)
			resp, _, err := c.hear("GET")
			if err != nil || resp.StatusCode != 431 {
				t.Errorf("got %v, %v, want 431", resp, err)
			}
		}
		// What is large but not too large passes.
		c := s.client(t)
		c.say("GET /", "app:alice", "X-A: "+strings.Repeat("x", 50<<10))
		c.want(200, "*")
	},
	"slow body": func(t *testing.T, s *server) {
		c := s.client(t)
		c.say("POST /upload", "app:alice", "Content-Length: 20")
		for range 20 {
			c.send("x")
			time.Sleep(100 * time.Millisecond)
		}
		c.want(200, "20\n")
	},
	"OPTIONS *": func(t *testing.T, s *server) {
		c := s.client(t)
		c.say("OPTIONS *", "raw:eve")
		c.want(200, "ok\n") // net/http would say nothing
	},
	"other protocol": func(t *testing.T, s *server) {
		c := s.client(t)
		c.say("GET "+rawapp.Do(rawapp.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nhi\n"), "hold"), "raw:eve", "Connection: Upgrade", "Upgrade: chat")
		resp, err := http.ReadResponse(c.in, nil)
		if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "chat" {
			t.Fatalf("got %v, %v, want 101", resp, err)
		}
		if line, err := c.in.ReadString('\n'); err != nil || line != "hi\n" {
			t.Errorf("got %q, %v", line, err)
		}
	},
	"app that takes too long": func(t *testing.T, s *server) {
		c := s.client(t)
		c.say("GET "+rawapp.Do("hold"), "hasty:alice")
		c.want(504, "*")
	},
	"app that closes at once": func(t *testing.T, s *server) {
		c := s.client(t)
		c.say("POST "+rawapp.Do("close"), "raw:eve", "Content-Length: 0")
		c.want(502, "*")
		c.say("POST "+rawapp.Do("reset"), "raw:eve", "Content-Length: 0")
		c.want(502, "*")
		c.say("GET /x", "raw:eve")
		c.want(200, "ok\n")
	},
}

// awaitIdle waits until an instance has no request any more.
func awaitIdle(t *testing.T, s *server, id string) {
	t.Helper()
	for deadline := time.Now().Add(harness.Timeout); s.Get(id).InFlight != 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%s has %d requests still", id, s.Get(id).InFlight)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// testCases runs them side by side.
func testCases(t *testing.T, s *server) {
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// testSilent is a client that stops in the middle of a head.
func testSilent(t *testing.T, s *server) {
	// 15 seconds for a head, from its first byte on.
	c := s.client(t)
	c.send("GET / HTTP/1.1\r\nHost: ")
	begun := time.Now()
	c.closed()
	if took := time.Since(begun); took < 10*time.Second {
		t.Errorf("closed after %v, want 15 s of patience", took)
	}
}
