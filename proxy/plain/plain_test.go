package plain

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"testing"

	"tenement.dev/proxy/framing"
)

const host = "Host: a.app.test\r\n"

// plainRequests are taken.
var plainRequests = []string{
	"GET / HTTP/1.1\r\n" + host + "\r\n",
	"HEAD /a/b.c?d=e&f=%20g HTTP/1.1\r\nhost:a.app.test:8080\r\nAccept: */*\r\nX:\r\n\r\n",
	"POST /p HTTP/1.1\r\n" + host + "Content-Length: 5\r\nConnection: Keep-Alive\r\n\r\nhello",
	"DELETE /p HTTP/1.1\r\n" + host + "Content-Length: 0\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\n" + host + "\r\n",
	"OPTIONS / HTTP/1.1\r\nUser-Agent: curl/8\r\n" + host + "X-Forwarded-For: 1.2.3.4\r\nX-Request-Id: x\r\nForwarded: for=x\r\n\r\n",
}

// oddRequests are for others.
var oddRequests = []string{
	"GET / HTTP/1.0\r\n" + host + "\r\n",
	"GET http://a.app.test/ HTTP/1.1\r\n" + host + "\r\n",
	"OPTIONS * HTTP/1.1\r\n" + host + "\r\n",
	"CONNECT a.app.test:80 HTTP/1.1\r\n" + host + "\r\n",
	"GET //a HTTP/1.1\r\n" + host + "\r\n",
	"GET /.well-known/tenement/ask HTTP/1.1\r\n" + host + "\r\n",
	"GET /%2ewell-known/tenement/ask HTTP/1.1\r\n" + host + "\r\n",
	"GET /%zz HTTP/1.1\r\n" + host + "\r\n",
	"GET /a%2 HTTP/1.1\r\n" + host + "\r\n",
	"GET /a#b HTTP/1.1\r\n" + host + "\r\n",
	"GET /\" HTTP/1.1\r\n" + host + "\r\n",
	"GET  / HTTP/1.1\r\n" + host + "\r\n",
	"GET / HTTP/1.1\n" + host + "\r\n",
	"GET / HTTP/1.1\r\nHost: a.app.test\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "A: b\nTransfer-Encoding: chunked\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "A: b\n\nGET /2 HTTP/1.1\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "A: b\r\n c\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "A : b\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "A: \x00\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "A: \xff\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "A\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + ": b\r\n\r\n",
	"GET / HTTP/1.1\r\n\r\n",
	"GET / HTTP/1.1\r\nHost:\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + host + "\r\n",
	"\r\nGET / HTTP/1.1\r\n" + host + "\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"\x16\x03\x01\x00",
	"BREW / HTTP/1.1\r\n" + host + "\r\n",
	"POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	"POST / HTTP/1.1\r\n" + host + "Content-Length: +5\r\n\r\nhello",
	"POST / HTTP/1.1\r\n" + host + "Content-Length: 05\r\n\r\nhello",
	"POST / HTTP/1.1\r\n" + host + "Content-Length: 5, 5\r\n\r\nhello",
	"POST / HTTP/1.1\r\n" + host + "Content-Length:\r\n\r\n",
	"POST / HTTP/1.1\r\n" + host + "Content-Length: 9999999999999999999\r\n\r\n",
	"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: x\r\nContent-Length: 1\r\n\r\n0",
	"POST / HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Connection: close, X-Secret\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Te: trailers\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Trailer: x\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Keep-Alive: 5\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Proxy-Authorization: x\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Tenement-Hop: x\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Content_Length: 5\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + "Sec-Purpose: prefetch\r\n\r\n",
	"GET / HTTP/1.1\r\n" + host + strings.Repeat("A: b\r\n", MaxFields+1) + "\r\n",
}

func TestRequest(t *testing.T) {
	var r Request
	for _, text := range plainRequests {
		if n, v := r.Read([]byte(text)); v != Taken || n != strings.Index(text, "\r\n\r\n")+4 {
			t.Errorf("%q: got %d, %v, want it taken", text, n, v)
		}
		head := text[:strings.Index(text, "\r\n\r\n")+4]
		for i := range head {
			if _, v := r.Read([]byte(head[:i])); v != More {
				t.Errorf("%q: got %v, want more", head[:i], v)
			}
		}
	}
	for _, text := range oddRequests {
		if n, v := r.Read([]byte(text)); v != Odd {
			t.Errorf("%q: got %d, %v, want it odd", text, n, v)
		}
	}
}

func TestRequestIsReadInPlace(t *testing.T) {
	text := []byte(plainRequests[2])
	var r Request
	if got := testing.AllocsPerRun(100, func() { r.Read(text) }); got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

// FuzzRequest: what is taken is what framing lets pass, and net/http reads it in the same way.
func FuzzRequest(f *testing.F) {
	for _, seed := range append(append([]string{}, plainRequests...), oddRequests...) {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		var r Request
		n, v := r.Read(sent)
		if v == More { // what is incomplete is so to the end
			if _, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(sent))); err == nil {
				t.Fatalf("%q is complete to net/http", sent)
			}
		}
		if v != Taken {
			return
		}
		end := n + int(min(r.Length, int64(len(sent)-n)))
		client, server := net.Pipe()
		go func() {
			defer client.Close()
			_, _ = client.Write(sent[:end])
		}()
		passed, _ := io.ReadAll(framing.NewConn(server))
		server.Close()
		if !bytes.Equal(passed, sent[:end]) {
			t.Fatalf("of %q passes %q", sent[:end], passed)
		}
		source := bytes.NewReader(sent[:end])
		in := bufio.NewReader(source)
		got, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("net/http does not read %q: %v", sent[:end], err)
		}
		if at := end - source.Len() - in.Buffered(); at != n {
			t.Fatalf("to net/http the head of %q ends at %d, want %d", sent, at, n)
		}
		if got.Method != string(r.Method) || got.RequestURI != string(r.Target) || got.Host != string(r.Host) || got.ContentLength != r.Length ||
			got.TransferEncoding != nil || got.Close != r.Close || got.ProtoMajor != 1 || got.ProtoMinor != 1 {
			t.Fatalf("net/http reads %q as %s %s of %s with %d bytes, close %v; want %s %s of %s with %d, %v",
				sent[:n], got.Method, got.RequestURI, got.Host, got.ContentLength, got.Close, r.Method, r.Target, r.Host, r.Length, r.Close)
		}
		sameFields(t, r.Fields, got.Header, "Content-Length", "Connection", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id", "Forwarded")
	})
}

// sameFields holds what is passed on to what net/http has read, but for the names that are not.
func sameFields(t *testing.T, fields []Field, want http.Header, not ...string) {
	t.Helper()
	got := http.Header{}
	for _, f := range fields {
		got.Add(string(f.Name), string(f.Value))
	}
	for _, name := range not {
		if got.Get(name) != "" {
			t.Fatalf("%s is passed on", name)
		}
		want.Del(name)
	}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for name, values := range want {
		if strings.Join(got[name], "\n") != strings.Join(values, "\n") {
			t.Fatalf("%s: got %q, want %q", name, got[name], values)
		}
	}
}

var plainAnswers = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200\r\nContent-Length: 0\r\nConnection: close\r\nX: \xc3\xa4\r\n\r\n",
	"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nDate: x\r\nX-Request-Id: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=5\r\nTenement-Keep-Awake: 5m\r\n\r\n",
	"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://localhost.example.com:80/\r\n\r\n",
}

var oddAnswers = []string{
	"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\n\r\nuntil the end",
	"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\nX: y\r\n\r\nhello",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nX: y\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: X\r\nX: y\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n z\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\n",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
	"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://localhost:80/\r\n\r\n",
	"HTTP/1.1 302 Found\r\nlocation: http://[::1]:80\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 999 X\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 20x OK\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"SSH-2.0-x\r\n",
	"\x00\x01",
}

func TestAnswer(t *testing.T) {
	var a Answer
	for _, text := range plainAnswers {
		if n, v := a.Read([]byte(text), false); v != Taken || n != strings.Index(text, "\r\n\r\n")+4 {
			t.Errorf("%q: got %d, %v, want it taken", text, n, v)
		}
		head := text[:strings.Index(text, "\r\n\r\n")+4]
		for i := range head {
			if _, v := a.Read([]byte(head[:i]), false); v != More {
				t.Errorf("%q: got %v, want more", head[:i], v)
			}
		}
	}
	for _, text := range oddAnswers {
		if n, v := a.Read([]byte(text), false); v != Odd {
			t.Errorf("%q: got %d, %v, want it odd", text, n, v)
		}
	}
}

// FuzzAnswer: an answer that is taken is read by net/http in the same way, to its end.
func FuzzAnswer(f *testing.F) {
	for _, seed := range append(append([]string{}, plainAnswers...), oddAnswers...) {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, sent []byte, head bool) {
		var a Answer
		n, v := a.Read(sent, head)
		if v != Taken {
			return
		}
		request := &http.Request{Method: http.MethodGet}
		if head {
			request.Method = http.MethodHead
		}
		source := bytes.NewReader(sent)
		in := bufio.NewReader(source)
		got, err := http.ReadResponse(in, request)
		if err != nil {
			t.Fatalf("net/http does not read %q: %v", sent, err)
		}
		if at := len(sent) - source.Len() - in.Buffered(); at != n {
			t.Fatalf("to net/http the head of %q ends at %d, want %d", sent, at, n)
		}
		want := a.Length
		switch {
		case a.Chunked:
			want = -1
		case a.Bodyless():
			want = min(got.ContentLength, 0)
		}
		if got.StatusCode != a.Status || got.ContentLength != want || (len(got.TransferEncoding) > 0) != a.Chunked || got.Close != a.Close {
			t.Fatalf("net/http reads %q as %d with %d bytes, %v, close %v; want %d, %d, %v, %v",
				sent[:n], got.StatusCode, got.ContentLength, got.TransferEncoding, got.Close, a.Status, want, a.Chunked, a.Close)
		}
		sameFields(t, a.Fields, got.Header, "Content-Length", "Connection", "Keep-Alive", "X-Request-Id", "Tenement-Keep-Awake")
	})
}

// decode gives the data of a body in chunks that comes in pieces.
func decode(p []byte, piece int) (data []byte, used int, ended, ok bool) {
	var c Chunks
	for used < len(p) && !c.Ended() {
		part := p[used:min(used+piece, len(p))]
		for len(part) > 0 && !c.Ended() {
			more, n, ok := c.Next(part)
			if !ok {
				return data, used + n, false, false
			}
			data = append(data, more...)
			part, used = part[n:], used+n
		}
	}
	return data, used, c.Ended(), true
}

// FuzzChunks: a body that is complete has the same data to net/http, however it comes.
func FuzzChunks(f *testing.F) {
	for _, seed := range []string{
		"0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\nmore", "5;a=b\r\nhello\r\nA\r\n0123456789\r\n00\r\nX: y\r\nZ: z\r\n\r\n", "5\r\nhello\n0\r\n\r\n",
		"\r\n", "-5\r\n", "5 \r\nhello\r\n0\r\n\r\n", "5 \t \r\nhello\r\n0000000000000000  \r\n\r\n", "5 ;a=b\r\nhello\r\n0\r\n\r\n", "7fffffffffffffff\r\nx", "8000000000000000\r\nx", "fffffffffffffffffff\r\n", "5\r\nhel",
	} {
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, sent []byte, piece uint8) {
		data, used, ended, ok := decode(sent, int(piece)+1)
		again, usedAgain, endedAgain, okAgain := decode(sent, 1)
		if !bytes.Equal(data, again) || used != usedAgain || ended != endedAgain || ok != okAgain {
			t.Fatalf("%q in pieces of %d: %q, %d, %v, %v; byte by byte %q, %d, %v, %v", sent, piece+1, data, used, ended, ok, again, usedAgain, endedAgain, okAgain)
		}
		want, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(sent)))
		switch {
		case ended && (err != nil || !bytes.Equal(data, want)):
			t.Fatalf("%q: got %q, to net/http it is %q, %v", sent, data, want, err)
		case ok && !bytes.HasPrefix(want, data) && !bytes.HasPrefix(data, want):
			t.Fatalf("%q: got %q, to net/http it is %q, %v", sent, data, want, err)
		}
	})
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]bool{"0": true, "7": true, "10": true, "": false, "00": false, "-1": false, " 1": false, "1234567890123456789": false} {
		n, ok := number([]byte(text))
		if ok != want {
			t.Errorf("%q: got %v", text, ok)
		}
		if n2, _ := strconv.ParseInt(text, 10, 64); ok && n != n2 {
			t.Errorf("%q: got %d", text, n)
		}
	}
}
