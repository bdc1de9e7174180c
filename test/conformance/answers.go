package conformance

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"tenement.dev/test/rawapp"
)

// answer is what an app may say that knows no better, or that is hostile.
type answer struct {
	name, say string
	// ends: the app closes the connection behind it.
	ends bool
	// method of the request; "" is POST.
	method string
	// status is what the client gets; 0 is nothing at all but a closed connection.
	status int
	body   string
	// broken: the client sees that something is missing.
	broken bool
	// leaves: the app leaves on the connection what the next request there may take for the
	// beginning of its answer. That is at most one of the same instance.
	leaves bool
	// has and hasNot are lines of the header.
	has, hasNot []string
}

// ok is an answer with one more line in its header.
func ok(line string) string { return "HTTP/1.1 200 OK\r\n" + line + "\r\nContent-Length: 2\r\n\r\nok" }

// status is one with another first line.
func status(line string) string { return line + "\r\nContent-Length: 2\r\n\r\nok" }

const (
	poison       = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	okChunked    = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
	hintsLong    = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
	keepsNothing = "HTTP/1.1 204 No Content\r\n"
)

var answers = []answer{
	{name: "plain", say: ok("X-A: b"), status: 200, body: "ok", has: []string{"X-A: b", "Content-Length: 2"}},
	{name: "no type", say: ok("X-A: b"), status: 200, body: "ok", hasNot: []string{"Content-Type"}},
	{name: "no type after a hint", say: hintsLong + ok("X-A: b"), status: 200, body: "ok", hasNot: []string{"Content-Type", "Link"}},
	{name: "HTTP/1.0", say: "HTTP/1.0 200 OK\r\n\r\nok", ends: true, status: 200, body: "ok"},
	{name: "no length", say: "HTTP/1.1 200 OK\r\n\r\nok", ends: true, status: 200, body: "ok"},
	{name: "no reason", say: status("HTTP/1.1 200"), status: 200, body: "ok"},
	{name: "HEAD", say: "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", method: "HEAD", status: 200, has: []string{"Content-Length: 1000"}},
	{name: "HEAD with a body", leaves: true, say: ok("X-A: b") + poison, method: "HEAD", status: 200},
	{name: "204", say: keepsNothing + "\r\n", status: 204},
	{name: "304", say: "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", status: 304, has: []string{`Etag: "a"`}},
	{name: "204 with a body", leaves: true, say: keepsNothing + "Content-Length: 6\r\n\r\npoison" + poison, status: 204},
	{name: "304 with a body", leaves: true, say: "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison", status: 304},
	// Two framings.
	{name: "length and chunked", say: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", status: 200, body: "hello", hasNot: []string{"Content-Length"}},
	{name: "two lengths", say: ok("Content-Length: 3") + "k", status: 502},
	{name: "two equal lengths", say: ok("Content-Length: 2"), status: 200, body: "ok", has: []string{"Content-Length: 2"}},
	{name: "list of lengths", say: "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", status: 502},
	{name: "length with plus", say: "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", status: 502},
	{name: "length with minus", say: "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", status: 502},
	{name: "length beyond 63 bits", say: "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nok", status: 502},
	{name: "unknown coding", say: "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", status: 502},
	{name: "two codings", say: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", status: 502},
	{name: "chunked twice", say: okChunked + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", status: 502},
	{name: "chunked in HTTP/1.0", say: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ends: true, status: 200, body: "0\r\n\r\n"},
	// Answers that are cut off: never complete ones.
	{name: "nothing", ends: true, status: 502},
	{name: "half a head", say: "HTTP/1.1 200 OK\r\nContent-", ends: true, status: 502},
	{name: "half a body", say: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", ends: true, status: 200, body: "hello", broken: true},
	{name: "half of a long body", say: "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 50000), ends: true, status: 200, body: strings.Repeat("x", 50000), broken: true},
	{name: "half of the chunks", say: okChunked + "\r\n2\r\nok\r\n", ends: true, status: 200, body: "ok", broken: true},
	{name: "half a chunk", say: okChunked + "\r\n5\r\nok", ends: true, status: 200, body: "ok", broken: true},
	{name: "chunk of no size", say: okChunked + "\r\n2\r\nok\r\nzz\r\n0\r\n\r\n", status: 200, body: "ok", broken: true},
	{name: "chunks without an end of trailers", say: okChunked + "\r\n2\r\nok\r\n0\r\n", ends: true, status: 200, body: "ok", broken: true},
	// Too much.
	{name: "second answer", leaves: true, say: ok("X-A: b") + poison, status: 200, body: "ok"},
	{name: "second answer behind chunks", leaves: true, say: okChunked + "\r\n2\r\nok\r\n0\r\n\r\n" + poison, status: 200, body: "ok"},
	{name: "many hints", say: strings.Repeat(hintsLong, 17) + ok("X-A: b"), status: 502},
	// First lines.
	{name: "status 99", say: status("HTTP/1.1 99 X"), status: 502},
	{name: "status 000", say: status("HTTP/1.1 000 X"), status: 502},
	{name: "status 099", say: status("HTTP/1.1 099 X"), status: 502},
	{name: "status +20", say: status("HTTP/1.1 +20 X"), status: 502},
	{name: "status -12", say: status("HTTP/1.1 -12 X"), status: 502},
	{name: "status 2xx", say: status("HTTP/1.1 2xx X"), status: 502},
	{name: "status 1000", say: status("HTTP/1.1 1000 X"), status: 502},
	{name: "status 999", say: status("HTTP/1.1 999 X"), status: 999, body: "ok"},
	{name: "no status", say: status("HTTP/1.1"), status: 502},
	{name: "reason with CR", say: status("HTTP/1.1 200 O\rX-A: b"), status: 200, body: "ok", hasNot: []string{"X-A"}},
	{name: "ICY", say: status("ICY 200 OK"), status: 502},
	{name: "HTTP/2", say: status("HTTP/2 200 OK"), status: 502},
	{name: "HTTP/1.2", say: status("HTTP/1.2 200 OK"), status: 200, body: "ok"},
	{name: "HTTP/0.9", say: "hello", ends: true, status: 502},
	{name: "empty line before", say: "\r\n" + ok("X-A: b"), status: 502},
	{name: "switching that nobody asked for", say: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nraw", status: 502},
	// Headers.
	{name: "bare LF", say: "HTTP/1.1 200 OK\nX-A: b\nContent-Length: 2\n\nok", status: 200, body: "ok", has: []string{"X-A: b"}},
	{name: "bare CR", say: ok("X-A: b\rSet-Cookie: c"), status: 502},
	{name: "NUL", say: ok("X-A: b\x00c"), status: 502},
	{name: "folded line", say: ok("X-A: b\r\n c"), status: 200, body: "ok", has: []string{"X-A: b c"}},
	{name: "space before the colon", say: ok("X-A : b"), status: 200, body: "ok", hasNot: []string{"X-A", "X-A "}},
	{name: "parentheses in a name", say: ok("X(A): b"), status: 502},
	{name: "no name", say: ok(": b"), status: 502},
	{name: "no colon", say: ok("X-A"), status: 502},
	{name: "upper bytes", say: ok("X-A: \xff\xe9"), status: 200, body: "ok", has: []string{"X-A: \xff\xe9"}},
	{name: "hop by hop", say: ok("Connection: X-A\r\nX-A: b\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\nUpgrade: h2c\r\nX-B: c"), status: 200, body: "ok",
		has: []string{"X-B: c"}, hasNot: []string{"X-A", "Keep-Alive", "Proxy-Authenticate", "Upgrade"}},
	// Trailers.
	{name: "trailers", say: okChunked + "Trailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: v\r\n\r\n", status: 200, body: "ok", has: []string{"X-T: v"}},
	{name: "trailers that frame", say: okChunked + "Trailer: Content-Length\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 5\r\n\r\n", status: 502},
}

// settle is how often the app is asked after each answer whether it leaves anything to
// those who come next.
const settle = 3

// Answers has the app of a front say what the table has.
func Answers(t *testing.T, f Front) {
	for i, c := range answers {
		t.Run(strings.ReplaceAll(c.name, "/", "-"), func(t *testing.T) {
			steps := []string{"body", rawapp.Write(c.say)}
			if c.ends {
				steps = append(steps, "close")
			}
			method := c.method
			if method == "" {
				method = http.MethodPost
			}
			text := fmt.Sprintf("%s %s?%d HTTP/1.1\r\nHost: %s\r\n\r\n", method, rawapp.Do(steps...), i, f.Host)
			next := fmt.Sprintf("GET /next HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", f.Host)
			list, bodies, err := f.exchange(t, text+next, false)
			got := 0
			if len(list) > 0 {
				got = list[0].StatusCode
			}
			switch {
			case c.broken && (err != nil && got == c.status && strings.HasPrefix(c.body, bodies[0]) || err == nil && len(list) == 0):
				// The client may also have seen nothing but the end.
			case c.broken || err != nil || got != c.status || len(list) != 2:
				t.Fatalf("got %d, %v and %d answers, want %d, broken: %v, and one to the next request", got, err, len(list), c.status, c.broken)
			case got != 502 && bodies[0] != c.body:
				t.Errorf("got %q, want %q", bodies[0], c.body)
			case c.leaves:
			case list[1].StatusCode != 200 || bodies[1] != "ok\n":
				t.Errorf("the next request of the client was answered with %d %q", list[1].StatusCode, bodies[1])
			}
			if len(list) > 0 {
				checkHeader(t, list[0], c)
			}
			for n := range settle {
				list, bodies, err := f.exchange(t, next, false)
				if c.leaves && n == 0 {
					continue
				}
				if err != nil || len(list) != 1 || list[0].StatusCode != 200 || bodies[0] != "ok\n" {
					t.Errorf("another client was answered with %d answers, %q, %v", len(list), bodies, err)
				}
			}
		})
	}
}

func checkHeader(t *testing.T, resp *http.Response, c answer) {
	t.Helper()
	for _, line := range c.has {
		name, value, _ := strings.Cut(line, ": ")
		if got := append(slices.Clone(resp.Header[name]), resp.Trailer[name]...); !slices.Equal(got, []string{value}) {
			t.Errorf("%s: got %q, want %q", name, got, value)
		}
	}
	for _, name := range c.hasNot {
		if got, ok := resp.Header[name]; ok {
			t.Errorf("%s: got %q, want none", name, got)
		}
	}
}
