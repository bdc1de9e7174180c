package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// request is one that could be an attack. In send, {to} is a target of its own and {host}
// the name of the instance.
type request struct {
	name, send string
	// status is what it is refused with; 0 where it is passed on. All that the app may see
	// of one that is refused is a request without an end.
	status int
	// waits: the front waits for more, until the client says that there is none. It is told
	// nothing then.
	waits bool
	// app is what the app gets: the first line, the header without what the front adds, and
	// the body.
	line   string
	header []string
	body   string
	// ends: what is behind it is refused, instead of the runner's own request there.
	ends bool
}

// post is a request whose framing is header and body.
func post(header, body string) string {
	return "POST {to} HTTP/1.1\r\nHost: {host}\r\n" + header + "\r\n\r\n" + body
}

// chunks is a request whose chunks are as they are.
func chunks(body string) string { return post("Transfer-Encoding: chunked", body) }

// get is a request with one more line.
func get(line string) string { return "GET {to} HTTP/1.1\r\nHost: {host}\r\n" + line + "\r\n\r\n" }

// first is a request with another first line.
func first(line string) string { return line + "\r\nHost: {host}\r\n\r\n" }

// host is a request with another Host header.
func host(value string) string { return "GET {to} HTTP/1.1\r\nHost: " + value + "\r\n\r\n" }

const (
	hello      = "5\r\nhello\r\n0\r\n\r\n"
	isPost     = "POST {to} HTTP/1.1"
	isGet      = "GET {to} HTTP/1.1"
	length5    = "Content-Length: 5"
	isChunked  = "Transfer-Encoding: chunked"
	smuggled   = "GET {to}/smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"
	chunkedNow = isChunked + "\r\n"
)

// requests are the known forms of request smuggling, and their relatives.
var requests = []request{
	// Two framings.
	{name: "Content-Length and chunked", send: post("Content-Length: 6\r\n"+isChunked, "0\r\n\r\n"), status: 400},
	{name: "Content-Length over a smuggled request", send: post("Content-Length: 100\r\n"+isChunked, "0\r\n\r\n"+smuggled), status: 400},
	{name: "chunked and Content-Length", send: post(chunkedNow+"Content-Length: 4", hello), status: 400},
	{name: "two equal lengths", send: post(length5+"\r\n"+length5, "hello"), status: 400},
	{name: "two lengths", send: post(length5+"\r\nContent-Length: 6", "hello"), status: 400},
	{name: "list of lengths", send: post("Content-Length: 5, 5", "hello"), status: 400},
	{name: "length with plus", send: post("Content-Length: +5", "hello"), status: 400},
	{name: "length with minus", send: post("Content-Length: -5", "hello"), status: 400},
	{name: "length in hexadecimal", send: post("Content-Length: 0x5", "hello"), status: 400},
	{name: "length with a space inside", send: post("Content-Length: 5 5", "hello"), status: 400},
	{name: "length with an underscore", send: post("Content-Length: 1_0", "hellohello"), status: 400},
	{name: "length with a fraction", send: post("Content-Length: 5.0", "hello"), status: 400},
	{name: "empty length", send: post("Content-Length:", "hello"), status: 400},
	{name: "length in other digits", send: post("Content-Length: \xd9\xa5", "hello"), status: 400},
	{name: "length beyond 64 bits", send: post("Content-Length: 18446744073709551621", "hello"), status: 400},
	{name: "length beyond 63 bits", send: post("Content-Length: 9223372036854775808", "hello"), status: 400},
	{name: "length with zeros", send: post("Content-Length: 0005", "hello"), line: isPost, header: []string{length5}, body: "hello"},
	{name: "length with a space before the colon", send: post("Content-Length : 5", "hello"), status: 400},
	{name: "length of a GET", send: "GET {to} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nhello", line: isGet, header: []string{length5}, body: "hello"},
	// Transfer codings that only some understand.
	{name: "chunked with x", send: post("Transfer-Encoding: xchunked", hello), status: 400},
	{name: "chunked with a space before the colon", send: post("Transfer-Encoding : chunked", hello), status: 400},
	{name: "chunked with a tab", send: post("Transfer-Encoding:\tchunked", hello), line: isPost, header: []string{isChunked}, body: "hello"},
	{name: "chunked with a space behind", send: post("Transfer-Encoding: chunked ", hello), line: isPost, header: []string{isChunked}, body: "hello"},
	{name: "chunked with a vertical tab", send: post("Transfer-Encoding: \x0bchunked", hello), status: 400},
	{name: "chunked with a form feed", send: post("Transfer-Encoding: chunked\x0c", hello), status: 400},
	{name: "chunked with NUL", send: post("Transfer-Encoding: chunked\x00", hello), status: 400},
	{name: "chunked in upper case", send: post("Transfer-Encoding: CHUNKED", hello), line: isPost, header: []string{isChunked}, body: "hello"},
	{name: "chunked in quotes", send: post(`Transfer-Encoding: "chunked"`, hello), status: 400},
	{name: "chunked with a parameter", send: post("Transfer-Encoding: chunked;q=1", hello), status: 400},
	{name: "chunked with a comma", send: post("Transfer-Encoding: chunked,", hello), status: 400},
	{name: "chunked twice", send: post(chunkedNow+isChunked, hello), status: 400},
	{name: "chunked and identity", send: post(chunkedNow+"Transfer-Encoding: identity", hello), status: 400},
	{name: "identity and chunked", send: post("Transfer-Encoding: identity\r\n"+isChunked, hello), status: 501},
	{name: "gzip and chunked", send: post("Transfer-Encoding: gzip, chunked", hello), status: 501},
	{name: "chunked and gzip", send: post("Transfer-Encoding: chunked, gzip", hello), status: 400},
	{name: "chunked twice in a list", send: post("Transfer-Encoding: chunked, chunked", hello), status: 400},
	{name: "chunked behind much space", send: post("Transfer-Encoding: "+strings.Repeat(" \t", 50)+"chunked\t ", hello), line: isPost, header: []string{isChunked}, body: "hello"},
	{name: "identity", send: post("Transfer-Encoding: identity\r\n"+length5, "hello"), status: 400},
	{name: "no coding", send: post("Transfer-Encoding:\r\n"+length5, "hello"), status: 400},
	{name: "chunked on the next line", send: post("Transfer-Encoding:\r\n chunked", hello), status: 400},
	{name: "chunked behind a bare CR", send: post("X-A: b\rTransfer-Encoding: chunked", hello), status: 400},
	{name: "chunked behind a bare LF", send: post("X-A: b\nTransfer-Encoding: chunked", hello), status: 400},
	{name: "coding with underscore", send: post("Transfer_Encoding: chunked\r\n"+length5, "hello"), line: isPost, header: []string{length5}, body: "hello"},
	{name: "length with underscore in its name", send: post("Content_Length: 5", ""), line: isPost, header: []string{"Content-Length: 0"}},
	{name: "chunked in HTTP/1.0", send: "POST {to} HTTP/1.0\r\nHost: {host}\r\nConnection: keep-alive\r\n" + chunkedNow + "\r\n0\r\n\r\n" + smuggled, status: 400},
	{name: "chunked in HTTP/1.0 beside a length", send: "POST {to} HTTP/1.0\r\nHost: {host}\r\nConnection: keep-alive\r\nContent-Length: 5\r\n" + chunkedNow + "\r\n" + hello + smuggled, status: 400},
	// Chunks.
	{name: "chunk with an extension", send: chunks("5;a=b\r\nhello\r\n0\r\n\r\n"), line: isPost, header: []string{isChunked}, body: "hello"},
	{name: "chunk with extensions", send: chunks("5;a;b = c ; d=\"\\\"\t;\"\r\nhello\r\n0;e\r\n\r\n"), line: isPost, header: []string{isChunked}, body: "hello"},
	{name: "extension without a name", send: chunks("5;\r\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "extension without a value", send: chunks("5;a=\r\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "extension of two words", send: chunks("5;a b\r\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "extension without its closing quote", send: chunks("5;a=\"\r\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "extension with a bare LF", send: chunks("5;a\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "extension with a bare CR", send: chunks("5;a\rb\r\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "long extension", send: chunks("5;" + strings.Repeat("a", 5000) + "\r\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "many extensions", send: chunks(strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nh\r\n", 100) + "0\r\n\r\n"), status: 400},
	{name: "chunk of 0x5", send: chunks("0x5\r\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "chunk of +5", send: chunks("+5\r\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "chunk of -5", send: chunks("-5\r\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "chunk of no size", send: chunks("\r\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "chunk with a space before", send: chunks(" 5\r\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "chunk with a space behind", send: chunks("5 \r\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "chunk with zeros", send: chunks("0005\r\nhello\r\n000\r\n\r\n"), line: isPost, header: []string{isChunked}, body: "hello"},
	{name: "chunk with too many zeros", send: chunks("00000000000000005\r\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "chunk beyond 64 bits", send: chunks("10000000000000005\r\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "chunk of 64 bits", send: chunks("ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), status: 400},
	{name: "chunk of an overflow", send: chunks("fffffffffffffffe\r\nhello\r\n0\r\n\r\n" + smuggled), status: 400},
	{name: "chunks with bare LF", send: chunks("5\nhello\n0\n\n"), status: 400},
	{name: "chunk without its end", send: chunks("5\r\nhelloXX0\r\n\r\n"), status: 400},
	{name: "chunk that ends with LF", send: chunks("5\r\nhello\n0\r\n\r\n"), status: 400},
	{name: "chunk size that ends with CR", send: chunks("5\rhello\r\n0\r\n\r\n"), status: 400},
	{name: "body without its end", send: chunks("5\r\nhello\r\n"), status: 400},
	{name: "body cut off", send: post("Content-Length: 1000", "hello"), status: 400, waits: true},
	// Trailers.
	{name: "trailers that frame", send: chunks("5\r\nhello\r\n0\r\nContent-Length: 100\r\nHost: evil\r\n\r\n"), status: 400},
	{name: "trailers that name a host", send: chunks("0\r\nHost: {host}\r\n\r\n"), status: 400},
	{name: "trailers with a bare LF", send: chunks("0\r\nX-A: b\n\r\n"), status: 400},
	{name: "trailers with a folded line", send: chunks("0\r\nX-A: b\r\n c\r\n\r\n"), status: 400},
	{name: "trailers beside those announced", send: post("Trailer: X-A\r\n"+isChunked, "0\r\nX-A: b\r\nX-B: c\r\n\r\n"), line: isPost, header: []string{isChunked, "Trailer: X-A"}, body: "\nX-A: b"},
	{name: "announced trailers that frame", send: post("Trailer: Content-Length\r\n"+isChunked, "0\r\nContent-Length: 100\r\n\r\n"), status: 400},
	{name: "announced trailers of ours", send: post("Trailer: X-Forwarded-For, Tenement-Schedule\r\n"+isChunked, "0\r\nX-Forwarded-For: 6.6.6.6\r\nTenement-Schedule: now\r\n\r\n"), line: isPost, header: []string{isChunked}},
	{name: "trailers that frame beside those announced", send: post("Trailer: X-A\r\n"+isChunked, "0\r\nX-A: b\r\nContent-Length: 5\r\n\r\n"), status: 400},
	// Lines.
	{name: "bare LF", send: "GET {to} HTTP/1.1\nHost: {host}\n\n", status: 400},
	{name: "bare LF in the header", send: get("X-A: b\nX-B: c"), status: 400},
	{name: "bare LF at the end", send: "GET {to} HTTP/1.1\r\nHost: {host}\r\nX-A: b\n\r\n", status: 400},
	{name: "bare CR in a value", send: get("X-A: b\rX-B: c"), status: 400},
	{name: "bare CR for all ends", send: "GET {to} HTTP/1.1\rHost: {host}\r\r", status: 400},
	{name: "CR CR LF", send: get("X-A: b\r"), status: 400},
	{name: "folded line", send: get("X-A: b\r\n c"), status: 400},
	{name: "folded line with nothing", send: get("X-A: b\r\n \r\nX-B: c"), status: 400},
	{name: "folded first line", send: "GET {to} HTTP/1.1\r\n X-A: b\r\nHost: {host}\r\n\r\n", status: 400},
	{name: "folded Host", send: "GET {to} HTTP/1.1\r\nHost: {host}\r\n .evil\r\n\r\n", status: 400},
	{name: "space before the colon", send: get("X-A : b"), status: 400},
	{name: "tab before the colon", send: get("X-A\t: b"), status: 400},
	{name: "no name", send: get(": b"), status: 400},
	{name: "no colon", send: get("X-A"), status: 400},
	{name: "NUL in a name", send: get("X\x00A: b"), status: 400},
	{name: "NUL in a value", send: get("X-A: b\x00c"), status: 400},
	{name: "backspace in a value", send: get("X-A: b\x08c"), status: 400},
	{name: "DEL in a value", send: get("X-A: b\x7fc"), status: 400},
	{name: "upper bytes in a value", send: get("X-A: \xff\xe9"), line: isGet, header: []string{"X-A: \xff\xe9"}},
	{name: "upper byte in a name", send: get("X\xe9A: b"), status: 400},
	{name: "parentheses in a name", send: get("X(A): b"), status: 400},
	{name: "slash in a name", send: get("X/A: b"), status: 400},
	// First lines.
	{name: "empty line before", send: "\r\n" + first("GET {to} HTTP/1.1"), status: 400},
	{name: "empty line behind a body", send: post(length5, "hello\r\n"), line: isPost, header: []string{length5}, body: "hello"},
	{name: "two empty lines behind a body", send: post(length5, "hello\r\n\r\n"), line: isPost, header: []string{length5}, body: "hello", ends: true},
	{name: "bare LF behind a body", send: post(length5, "hello\n"), line: isPost, header: []string{length5}, body: "hello", ends: true},
	{name: "space before", send: " " + first("GET {to} HTTP/1.1"), status: 400},
	{name: "two spaces", send: first("GET  {to} HTTP/1.1"), status: 400},
	{name: "two spaces before the version", send: first("GET {to}  HTTP/1.1"), status: 400},
	{name: "tabs", send: first("GET\t{to}\tHTTP/1.1"), status: 400},
	{name: "space behind", send: first("GET {to} HTTP/1.1 "), status: 400},
	{name: "space in the target", send: first("GET {to} b HTTP/1.1"), status: 400},
	{name: "two versions", send: first("GET {to} HTTP/1.1 HTTP/1.1"), status: 400},
	{name: "HTTP/0.9", send: "GET {to}\r\n\r\n", status: 400},
	{name: "HTTP/0.9 by name", send: first("GET {to} HTTP/0.9"), status: 505},
	{name: "HTTP/1.2", send: first("GET {to} HTTP/1.2"), status: 400},
	{name: "HTTP/1.10", send: first("GET {to} HTTP/1.10"), status: 400},
	{name: "HTTP/2.0", send: first("GET {to} HTTP/2.0"), status: 505},
	{name: "HTTP/3.0", send: first("GET {to} HTTP/3.0"), status: 505},
	{name: "HTTP/01.1", send: first("GET {to} HTTP/01.1"), status: 400},
	{name: "HTTP/1.", send: first("GET {to} HTTP/1."), status: 400},
	{name: "http/1.1", send: first("GET {to} http/1.1"), status: 400},
	{name: "parenthesis in the method", send: first("GE(T {to} HTTP/1.1"), status: 400},
	{name: "control byte in the method", send: first("GE\x01T {to} HTTP/1.1"), status: 400},
	{name: "method in lower case", send: first("get {to} HTTP/1.1"), line: "get {to} HTTP/1.1"},
	{name: "unknown method", send: first("BREW {to} HTTP/1.1"), line: "BREW {to} HTTP/1.1"},
	// Targets.
	{name: "control byte in the target", send: first("GET {to}\x01 HTTP/1.1"), status: 400},
	{name: "NUL in the target", send: first("GET {to}\x00 HTTP/1.1"), status: 400},
	{name: "CR in the target", send: first("GET {to}\rb HTTP/1.1"), status: 400},
	{name: "DEL in the target", send: first("GET {to}\x7f HTTP/1.1"), status: 400},
	{name: "bad escape in the target", send: first("GET {to}%zz HTTP/1.1"), status: 400},
	{name: "escaped line end in the target", send: first("GET {to}%0d%0aX:%20y HTTP/1.1"), line: "GET {to}%0d%0aX:%20y HTTP/1.1"},
	{name: "odd bytes in the target", send: first("GET {to}\"<>{}|^`\xff HTTP/1.1"), line: "GET {to}\"<>{}|^`\xff HTTP/1.1"},
	{name: "fragment", send: first("GET {to}#b HTTP/1.1"), line: "GET {to}#b HTTP/1.1"},
	{name: "relative target", send: first("GET x{to} HTTP/1.1"), status: 400},
	{name: "two slashes", send: first("GET //evil.example{to} HTTP/1.1"), line: "GET //evil.example{to} HTTP/1.1"},
	{name: "absolute target", send: "GET http://{host}{to}?b HTTP/1.1\r\nHost: evil.example\r\n\r\n", line: "GET {to}?b HTTP/1.1"},
	{name: "absolute target of TLS", send: first("GET https://{host}{to} HTTP/1.1"), line: isGet},
	{name: "absolute target of another protocol", send: first("GET gopher://{host}{to} HTTP/1.1"), status: 400},
	{name: "absolute target without a host", send: first("GET http://{to} HTTP/1.1"), status: 400},
	{name: "absolute target with a user", send: first("GET http://u:p@{host}{to} HTTP/1.1"), status: 400},
	{name: "GET *", send: first("GET * HTTP/1.1"), status: 400},
	{name: "CONNECT", send: first("CONNECT {host}:80 HTTP/1.1"), status: 501},
	{name: "CONNECT with a path", send: first("CONNECT {to} HTTP/1.1"), status: 501},
	// Hosts.
	{name: "no Host", send: "GET {to} HTTP/1.1\r\n\r\n", status: 400},
	{name: "two Hosts", send: host("{host}\r\nHost: evil.example"), status: 400},
	{name: "twice the Host", send: host("{host}\r\nHost: {host}"), status: 400},
	{name: "list of Hosts", send: host("{host}, evil.example"), status: 400},
	{name: "user in the Host", send: host("evil@{host}"), status: 400},
	{name: "user and port in the Host", send: host("{host}:80@evil.example"), status: 400},
	{name: "slash in the Host", send: host("{host}/b"), status: 400},
	{name: "query in the Host", send: host("{host}?b"), status: 400},
	{name: "space in the Host", send: host("{host} b"), status: 400},
	{name: "tab in the Host", send: host("{host}\tb"), status: 400},
	{name: "NUL in the Host", send: host("{host}\x00"), status: 400},
	{name: "upper byte in the Host", send: host("\xe4.{host}"), status: 400},
	{name: "Host with a space before the colon", send: "GET {to} HTTP/1.1\r\nHost : {host}\r\n\r\n", status: 400},
	// Headers that stop here, or are ours.
	{name: "Connection that names the framing", send: post("Connection: Content-Length\r\n"+length5, "hello"), line: isPost, header: []string{length5}, body: "hello"},
	{name: "Connection that names ours", send: get("Connection: Host, X-Forwarded-For, Tenement-Hop, X-A\r\nX-A: b"), line: isGet},
	{name: "hop by hop", send: get("Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\nUpgrade: x\r\nTE: gzip"), line: isGet},
	{name: "TE", send: get("TE: trailers, gzip\r\nConnection: TE"), line: isGet, header: []string{"Te: trailers"}},
	{name: "ours with underscores", send: get("X_Forwarded_For: 6.6.6.6\r\nTenement_Schedule: now\r\nX_A: b"), line: isGet, header: []string{"X_a: b"}},
	{name: "ours half with underscores", send: get("X_Forwarded-For: 6.6.6.6\r\ntenement-Schedule: now\r\nX-Request_id: b\r\nForwarded: for=6.6.6.6"), line: isGet},
	{name: "tunnel of HTTP/2", send: get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"), line: isGet},
	{name: "tunnel of HTTP/2 in a list", send: get("Connection: Upgrade\r\nUpgrade: websocket, H2C"), line: isGet},
	{name: "tunnel of TLS", send: get("Connection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1"), line: isGet},
	{name: "tunnel to nobody knows what", send: get("Connection: Upgrade\r\nUpgrade: web\xffsocket"), status: 400},
	{name: "upgrade that is not wanted", send: get("Connection: Upgrade\r\nUpgrade: websocket"), line: isGet, header: []string{"Connection: Upgrade", "Upgrade: websocket"}},
	{name: "unknown expectation", send: post("Expect: 200-ok\r\n"+length5, "hello"), status: 417},
}

// Requests sends the table through a front.
func Requests(t *testing.T, f Front) {
	for i, c := range requests {
		to := fmt.Sprintf("/case-%03d.", i)
		fill := strings.NewReplacer("{to}", to, "{host}", f.Host)
		t.Run(strings.ReplaceAll(c.name, "/", "-"), func(t *testing.T) {
			behind := "GET " + to + "behind HTTP/1.1\r\nHost: " + f.Host + "\r\nConnection: close\r\n\r\n"
			answers, _, err := f.exchange(t, fill.Replace(c.send)+behind, c.waits)
			var got []int
			for _, a := range answers {
				got = append(got, a.StatusCode)
			}
			if c.status != 0 {
				want := []int{c.status}
				if c.waits {
					want = nil // it has gone away
				}
				// A reset overtakes the answer where the rest of what was sent is not read.
				reset := len(got) == 0 && errors.Is(err, syscall.ECONNRESET)
				if !reset && (err != nil || !slices.Equal(got, want)) {
					t.Errorf("got answers %v, %v, want %v and a closed connection", got, err, want)
				}
				for _, m := range f.messages(t, to) {
					if m.complete {
						t.Errorf("the app has received %v", m)
					}
				}
				return
			}
			want, passed := []int{200, 200}, 2
			if c.ends {
				want, passed = []int{200, 400}, 1
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("got answers %v, %v, want %v", got, err, want)
			}
			list := f.messages(t, to)
			if len(list) != passed {
				t.Fatalf("the app has received %d requests, want %d: %v", len(list), passed, list)
			}
			at := slices.IndexFunc(list, func(m message) bool { return m.line == fill.Replace(c.line) })
			if at < 0 {
				t.Fatalf("the app has not received %q but %v", fill.Replace(c.line), list)
			}
			header := append([]string{"Host: " + f.Host}, c.header...)
			slices.Sort(header)
			slices.Sort(list[at].header)
			if m := list[at]; !m.complete || m.body != c.body || !slices.Equal(m.header, header) {
				t.Errorf("the app has received %v, want the header %q and the body %q", m, header, c.body)
			}
		})
	}
}
