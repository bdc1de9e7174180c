package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2Request is a request over HTTP/2 that could be an attack.
type h2Request struct {
	name string
	// head is fields in the order in which they are sent, as "name=value". In it {to} is a
	// target of its own and {host} the instance's name.
	head []string
	// data is the body, in one frame, and trailer fields behind it.
	data    string
	trailer []string
	// refused: the stream or the connection is reset, or it is answered with 400 to 499 or
	// 501, and the app sees nothing that is complete.
	refused bool
	// empty: what was announced is complete without a body, and may have reached the app before
	// the front saw one.
	empty bool
	// line, header and body are what the app gets.
	line   string
	header []string
	body   string
}

// h2 is the head of a request with more fields.
func h2(method string, more ...string) []string {
	return append([]string{":method=" + method, ":scheme=https", ":authority={host}", ":path={to}"}, more...)
}

var h2Requests = []h2Request{
	{name: "plain", head: h2("GET", "x-a=b"), line: isGet, header: []string{"X-A: b"}},
	{name: "body", head: h2("POST"), data: "hello", line: isPost, header: []string{isChunked}, body: "hello"},
	{name: "body and length", head: h2("POST", "content-length=5"), data: "hello", line: isPost, header: []string{length5}, body: "hello"},
	{name: "trailers", head: h2("POST", "trailer=x-t"), data: "hello", trailer: []string{"x-t=v"}, line: isPost, header: []string{isChunked, "Trailer: X-T"}, body: "hello\nX-T: v"},
	{name: "cookies", head: h2("GET", "cookie=a=b", "cookie=c=d"), line: isGet, header: []string{"Cookie: a=b; c=d"}},
	{name: "TE of trailers", head: h2("GET", "te=trailers"), line: isGet, header: []string{"Te: trailers"}},
	// Framing.
	{name: "length too small", head: h2("POST", "content-length=3"), data: "hello", refused: true},
	{name: "length too large", head: h2("POST", "content-length=9"), data: "hello", refused: true},
	{name: "length of nothing over a smuggled request", head: h2("POST", "content-length=0"), data: smuggled, refused: true, empty: true},
	{name: "two lengths", head: h2("POST", "content-length=5", "content-length=3"), data: "hello", refused: true},
	{name: "length with plus", head: h2("POST", "content-length=+5"), data: "hello", refused: true},
	{name: "length with a line", head: h2("POST", "content-length=5\r\nx-a: b"), data: "hello", refused: true},
	{name: "chunked", head: h2("POST", "transfer-encoding=chunked"), data: "0\r\n\r\n" + smuggled, refused: true},
	{name: "chunked with underscore", head: h2("POST", "transfer_encoding=chunked"), data: "0\r\n\r\n", line: isPost, header: []string{isChunked}, body: "0\r\n\r\n"},
	{name: "Connection", head: h2("GET", "connection=x-a", "x-a=b"), refused: true},
	{name: "Upgrade", head: h2("GET", "upgrade=websocket"), refused: true},
	{name: "Keep-Alive", head: h2("GET", "keep-alive=5"), refused: true},
	{name: "Proxy-Connection", head: h2("GET", "proxy-connection=keep-alive"), refused: true},
	{name: "TE", head: h2("GET", "te=gzip"), refused: true},
	// Bytes.
	{name: "line in a value", head: h2("GET", "x-a=b\r\nx-b: c"), refused: true},
	{name: "LF in a value", head: h2("GET", "x-a=b\nc"), refused: true},
	{name: "NUL in a value", head: h2("GET", "x-a=b\x00c"), refused: true},
	{name: "line in a name", head: h2("GET", "x-a: b\r\nx-b=c"), refused: true},
	{name: "colon in a name", head: h2("GET", "x-a:b=c"), refused: true},
	{name: "space in a name", head: h2("GET", "x a=b"), refused: true},
	{name: "upper case in a name", head: h2("GET", "X-A=b"), refused: true},
	{name: "no name", head: h2("GET", "=b"), refused: true},
	{name: "line in the path", head: []string{":method=GET", ":scheme=https", ":authority={host}", ":path={to} HTTP/1.1\r\nX-A: b"}, refused: true},
	{name: "space in the path", head: []string{":method=GET", ":scheme=https", ":authority={host}", ":path={to} b"}, refused: true},
	{name: "space in the query", head: []string{":method=GET", ":scheme=https", ":authority={host}", ":path={to}?b HTTP/1.1"}, refused: true},
	{name: "line in the method", head: []string{":method=GET /x HTTP/1.1\r\nX-A: b\r\n\r\nGET", ":scheme=https", ":authority={host}", ":path={to}"}, refused: true},
	{name: "space in the method", head: []string{":method=GET {to}/smuggled HTTP/1.1", ":scheme=https", ":authority={host}", ":path={to}"}, refused: true},
	{name: "line in the authority", head: []string{":method=GET", ":scheme=https", ":authority={host}\r\nX-A: b", ":path={to}"}, refused: true},
	{name: "user in the authority", head: []string{":method=GET", ":scheme=https", ":authority=u@{host}", ":path={to}"}, refused: true},
	{name: "line in the scheme", head: []string{":method=GET", ":scheme=https\r\nX-A: b", ":authority={host}", ":path={to}"}, refused: true},
	// Pseudo-header fields.
	{name: "no method", head: []string{":scheme=https", ":authority={host}", ":path={to}"}, refused: true},
	{name: "no path", head: []string{":method=GET", ":scheme=https", ":authority={host}"}, refused: true},
	{name: "empty path", head: []string{":method=GET", ":scheme=https", ":authority={host}", ":path="}, refused: true},
	{name: "relative path", head: []string{":method=GET", ":scheme=https", ":authority={host}", ":path=x{to}"}, refused: true},
	{name: "absolute path", head: []string{":method=GET", ":scheme=https", ":authority={host}", ":path=https://evil.example{to}"}, refused: true},
	{name: "two methods", head: h2("GET", ":method=POST"), refused: true},
	{name: "two paths", head: append([]string{":path={to}"}, h2("GET")...), refused: true},
	{name: "two authorities", head: append([]string{":authority=evil.example"}, h2("GET")...), refused: true},
	{name: "pseudo-header behind the others", head: []string{":method=GET", ":scheme=https", ":authority={host}", "x-a=b", ":path={to}"}, refused: true},
	{name: "pseudo-header of answers", head: h2("GET", ":status=200"), refused: true},
	{name: "unknown pseudo-header", head: append([]string{":x=y"}, h2("GET")...), refused: true},
	{name: "pseudo-header in the trailers", head: h2("POST"), data: "hello", trailer: []string{":path={to}/smuggled"}, refused: true},
	{name: "CONNECT", head: []string{":method=CONNECT", ":authority={host}"}, refused: true},
	{name: "another Host", head: h2("GET", "host=evil.example"), line: isGet},
	// What is ours.
	{name: "ours", head: h2("GET", "x-forwarded-for=6.6.6.6", "tenement-schedule=now", "x_forwarded_for=6.6.6.6"), line: isGet},
}

// H2 sends the table through a front.
func H2(t *testing.T, f Front) {
	for i, c := range h2Requests {
		to := fmt.Sprintf("/h2-%03d.", i)
		fill := strings.NewReplacer("{to}", to, "{host}", f.Host)
		t.Run(strings.ReplaceAll(c.name, "/", "-"), func(t *testing.T) {
			status, err := f.stream(t, fill, c)
			list := f.messages(t, to)
			if c.refused {
				if err == nil && status/100 != 4 && status != 501 && !c.empty {
					t.Errorf("got %d, want a refusal", status)
				}
				if at := slices.IndexFunc(list, func(m message) bool { return m.complete && (!c.empty || m.body != "") }); at >= 0 {
					t.Errorf("the app has received %v", list[at])
				}
				return
			}
			if err != nil || status != 200 || len(list) != 1 {
				t.Fatalf("got %d, %v, and the app %v, want 200 and one request", status, err, list)
			}
			header := append([]string{"Host: " + f.Host}, c.header...)
			slices.Sort(header)
			slices.Sort(list[0].header)
			if m := list[0]; !m.complete || m.line != fill.Replace(c.line) || m.body != c.body || !slices.Equal(m.header, header) {
				t.Errorf("the app has received %v, want %q, the header %q and the body %q", m, fill.Replace(c.line), header, c.body)
			}
		})
	}
}

// stream makes a request as it is and gives the answer's status. The error is what the
// front says instead, of the stream or the connection.
func (f Front) stream(t *testing.T, fill *strings.Replacer, c h2Request) (status int, err error) {
	t.Helper()
	conn := dial(t, f.DialH2)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	encode := func(fields []string) []byte {
		block.Reset()
		for _, field := range fields {
			at := strings.Index(field[1:], "=") + 1 // behind a colon
			if field[0] == '=' {
				at = 0
			}
			_ = encoder.WriteField(hpack.HeaderField{Name: field[:at], Value: fill.Replace(field[at+1:])})
		}
		return block.Bytes()
	}
	framer := http2.NewFramer(conn, conn)
	framer.AllowIllegalWrites = true
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err = io.WriteString(conn, http2.ClientPreface)
	if err == nil {
		err = framer.WriteSettings()
	}
	if err == nil {
		err = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode(c.head), EndHeaders: true, EndStream: c.data == ""})
	}
	if err == nil && c.data != "" {
		err = framer.WriteData(1, c.trailer == nil, []byte(fill.Replace(c.data)))
	}
	if err == nil && c.trailer != nil {
		err = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode(c.trailer), EndHeaders: true, EndStream: true})
	}
	if err != nil {
		return 0, err
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("the front says nothing: %v", err)
			}
			return status, err
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			_, _ = fmt.Sscan(frame.PseudoValue("status"), &status)
			if frame.StreamEnded() {
				return status, nil
			}
		case *http2.DataFrame:
			if frame.StreamEnded() {
				return status, nil
			}
		case *http2.RSTStreamFrame:
			if status == 0 {
				return 0, fmt.Errorf("reset: %v", frame.ErrCode)
			}
			return status, nil
		case *http2.GoAwayFrame:
			if frame.ErrCode != http2.ErrCodeNo {
				return status, fmt.Errorf("hung up: %v", frame.ErrCode)
			}
		}
	}
}
