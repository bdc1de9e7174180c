package framing

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// sender is a connection on which a client sends; it repeats itself if it is told to.
type sender struct {
	net.Conn
	all, rest []byte
	piece     int
}

func (s *sender) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.rest = s.all; len(s.rest) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(p[:min(len(p), s.piece)], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// TestPasses: what is well-formed passes as it is, and whole.
func TestPasses(t *testing.T) {
	for _, sent := range exchanges {
		for piece := 1; piece <= len(sent); piece++ {
			if got := string(through(t, []byte(sent), piece)); got != sent {
				t.Errorf("%d bytes at a time: got %q, want %q", piece, got, sent)
			}
		}
		if _, ends := found([]byte(sent)); latest(ends) != len(sent) {
			t.Errorf("%q ends at %v, want %d", sent, ends, len(sent))
		}
	}
}

// TestMalformed: net/http takes the bytes that replace a fault for none of its own, wherever
// they stand: what ends behind them does not exist.
func TestMalformed(t *testing.T) {
	for _, sent := range exchanges {
		heads, ends := found([]byte(sent))
		for i := range len(sent) {
			before := func(list []int) (some []int) {
				for _, at := range list {
					if at <= i {
						some = append(some, at)
					}
				}
				return some
			}
			var f follower
			if f.follow([]byte(sent[:i])); f.state == body || f.state == chunkData {
				continue // there is no fault in data
			}
			agree(t, []byte(sent[:i]+malformed), before(heads), before(ends))
			agree(t, []byte(sent[:i]+malformed+"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n"), before(heads), before(ends))
		}
	}
}

// TestFaults: each of these bytes is refused as soon as it comes.
func TestFaults(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: a\r\n"
	const chunked = head + "Transfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct{ good, fault string }{
		{"", "\n"}, {"", " "}, {"", "\x00"}, {"\r", "G"}, {"\r\n", "\r"},
		{"GE", "("}, {"GET", "\r"}, {"GET ", " "}, {"GET /", "\x7f"}, {"GET /", "\t"}, {"GET / HTTP/1", ","}, {"GET / ", "h"},
		{"GET / HTTP/1.2", "\r"}, {"GET / HTTP/1.1", "\n"}, {"GET / HTTP/1.1", " "}, {"GET / HTTP/1.1\r\n", " "},
		{head, "\n"}, {head, ":"}, {head, "\t"}, {head + "X", " "}, {head + "X: ", "\n"}, {head + "X: ", "\x0b"}, {head + "X: y\r", " "},
		{head + "\r", "\r"}, {head + "Host", " "}, {head + "Host: b\r\n\r", "\n"}, {"GET / HTTP/1.1\r\n\r", "\n"},
		{head + "Content-Length: 1", ","}, {head + "Content-Length: 1 ", "2"}, {head + "Content-Length: ", "\r"}, {head + "Content-Length: ", "-"},
		{head + "Content-Length: 1\r\ncontent-length", ":"}, {head + "Content-Length: 922337203685477580", "8"},
		{head + "Content-Length: " + strings.Repeat("0", 64), "1"},
		{head + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r", "\n"}, {head + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r", "\n"},
		{head + "Transfer-Encoding: chunked)\r\n\r", "\n"}, {head + "Transfer-Encoding: " + strings.Repeat("x", 20) + "chunked\r\n\r", "\n"},
		{"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r", "\n"},
		{chunked, "\r"}, {chunked, "\x10"}, {chunked, "g"}, {chunked, " "}, {chunked, "+"}, {chunked + "7fffffffffffffff", "0"},
		{chunked + "fffffffffffffff", "f"}, {chunked + "0000000000000000", "0"}, {chunked + "1 ", "\r"}, {chunked + "1;", "\r"}, {chunked + "1;a ", "\r"},
		{chunked + "1;a=", ";"}, {chunked + `1;a="`, "\r"}, {chunked + `1;a="b"`, "c"}, {chunked + `1;a="\`, "\x00"}, {chunked + "1", "\n"}, {chunked + "1\r", "\r"},
		{chunked + "1;" + strings.Repeat("a", 1024), "a"},
		{chunked + "1\r\nx", "\n"}, {chunked + "1\r\nx\r", "x"}, {chunked + "0\r\n", "\n"}, {chunked + "0\r\n", " "},
		{chunked + "0\r\ncontent-length", ":"}, {chunked + "0\r\nHOST", ":"}, {chunked + "0\r\nTransfer-Encoding", ":"}, {chunked + "0\r\nX: y\r\n\r", "x"},
	} {
		for _, piece := range []int{1, 7, 4096} {
			got := string(through(t, []byte(c.good+c.fault+"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), piece))
			if want := c.good + malformed; got != want {
				t.Errorf("%q behind %q: the server reads %q", c.fault, c.good, got)
			}
		}
	}
}

// front is a server of net/http behind Conns.
func front(t *testing.T, handler http.HandlerFunc) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ConnState: func(c net.Conn, state http.ConnState) {
		if aside, ok := c.(interface{ StepAside() }); ok && state == http.StateHijacked {
			aside.StepAside()
		}
	}}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener{l}) }()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return NewConn(conn), nil
}

// TestTurns: a fault behind requests that are being handled leaves them alone, and is
// answered behind them.
func TestTurns(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, first := range []string{get, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n"} {
		for _, fault := range []string{"\x00", "GET /\x00", "GET / HTTP/1.1\nHost: a\n\n", strings.Repeat("\x00", 10000)} {
			gone := make(chan bool, 3)
			conn := front(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				select {
				case <-r.Context().Done():
				case <-time.After(50 * time.Millisecond): // in which the server sees what comes behind
				}
				gone <- r.Context().Err() != nil
			})
			if _, err := io.WriteString(conn, first+get+fault+get); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(conn)
			for _, want := range []int{200, 200, 400} {
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatalf("%q %.20q: %v, want %d", first, fault, err, want)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				if resp.StatusCode != want || resp.Close != (want == 400) {
					t.Errorf("%q %.20q: got %s, closed: %v, want %d", first, fault, resp.Status, resp.Close, want)
				}
			}
			for range 2 {
				if <-gone {
					t.Errorf("%q %.20q: a request was ended by what came behind it", first, fault)
				}
			}
		}
	}
}

// TestUpgrade: a connection that changes to another protocol is left alone, also where the
// client does not wait for the answer.
func TestUpgrade(t *testing.T) {
	const ask = "GET /first HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 2\r\n\r\nhi"
	text := "\x81\x00\r\r\n" + strings.Repeat("\x00raw", 3000) + "."
	for _, early := range []int{0, 1, 2, 500, len(text)} {
		conn := front(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/first" {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			_, _ = io.CopyN(conn, rw, int64(len(text)))
		})
		if _, err := io.WriteString(conn, ask+text[:early]); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		for _, want := range []int{200, 101} {
			resp, err := http.ReadResponse(in, nil)
			if err != nil || resp.StatusCode != want {
				t.Fatalf("got %v, %v, want %d", resp, err, want)
			}
		}
		if _, err := io.WriteString(conn, text[early:]); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(in); err != nil || string(got) != text {
			t.Errorf("with %d bytes sent early: got %d bytes back, %v, want %d", early, len(got), err, len(text))
		}
	}
}

// TestEnds: what TCP can do, a Conn can.
func TestEnds(t *testing.T) {
	conn := front(t, func(http.ResponseWriter, *http.Request) {})
	other := NewConn(conn)
	if n, err := io.Copy(other, strings.NewReader("GET / HTTP/1.0\r\n\r\n")); n != 18 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if err := other.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// browser is a request as a browser makes it.
var browser = []byte("GET /assets/application-5f3a.css?theme=dark HTTP/1.1\r\nHost: alice.notes.example.com\r\nConnection: keep-alive\r\n" +
	"sec-ch-ua: \"Chromium\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n" +
	"Accept: text/css,*/*;q=0.1\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: style\r\n" +
	"Referer: https://alice.notes.example.com/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n" +
	"Cookie: session=0123456789abcdef0123456789abcdef\r\n\r\n")

// TestAllocations: a request costs none.
func TestAllocations(t *testing.T) {
	p := make([]byte, 4096)
	for _, piece := range []int{100, 4096} {
		conn := NewConn(&sender{all: browser, piece: piece})
		if got := testing.AllocsPerRun(1000, func() { _, _ = conn.Read(p) }); got != 0 {
			t.Errorf("%d bytes at a time: got %v allocations, want none", piece, got)
		}
	}
}

// BenchmarkHead is what each request of a browser costs beside its reading.
func BenchmarkHead(b *testing.B) {
	for name, conn := range map[string]net.Conn{
		"none": &sender{all: browser, piece: 4096}, "strict": NewConn(&sender{all: browser, piece: 4096}), "pieces": NewConn(&sender{all: browser, piece: 100}),
	} {
		b.Run(name, func(b *testing.B) {
			p := make([]byte, 4096)
			b.SetBytes(int64(len(browser)))
			b.ReportAllocs()
			for b.Loop() {
				for n := 0; n < len(browser); {
					got, err := conn.Read(p)
					if err != nil {
						b.Fatal(err)
					}
					n += got
				}
			}
		})
	}
}

// BenchmarkReadRequest is what net/http needs to read the same, for comparison.
func BenchmarkReadRequest(b *testing.B) {
	source := bytes.NewReader(nil)
	in := bufio.NewReader(source)
	b.ReportAllocs()
	for b.Loop() {
		source.Reset(browser)
		in.Reset(source)
		if _, err := http.ReadRequest(in); err != nil {
			b.Fatal(err)
		}
	}
}

// TestSpan: it finds the same as one byte at a time.
func TestSpan(t *testing.T) {
	for _, c := range []class{token, visible, value} {
		for b := range 256 {
			for at := range 20 {
				p := bytes.Repeat([]byte("\xff"), 20)
				if c == token {
					p = bytes.Repeat([]byte("x"), 20)
				}
				p[at] = byte(b)
				want := 20
				if !is(byte(b), c) {
					want = at
				}
				if got := span(p, c); got != want {
					t.Fatalf("%q of %d: got %d, want %d", p, c, got, want)
				}
			}
		}
	}
}
