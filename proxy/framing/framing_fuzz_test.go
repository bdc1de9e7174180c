package framing

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"regexp"
	"slices"
	"testing"
)

// wellFormed is a request's head by the grammar (RFC 9112, sections 2 to 5), written down once more.
var wellFormed = regexp.MustCompile("^(\r\n)?[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^\x00-\x20\x7f]+ HTTP/1\\.[01]\r\n" +
	"([!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n)*\r\n")

// exchanges are what clients may send on one connection, well-formed.
var exchanges = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
	"POST / HTTP/1.1\r\nhost:a\r\nContent-Length:\t05 \r\n\r\nhello\r\nGET /2 HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0a;x;y=\"\\\"\" ; z = w\r\n0123456789\r\n0\r\nX-T: v\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
	"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
}

// FuzzStrict: of whatever bytes a client sends, net/http reads the requests that the follower
// has found, with the same ends, and nothing that is not well-formed.
func FuzzStrict(f *testing.F) {
	for i, seed := range exchanges {
		f.Add([]byte(seed), uint8(i*7+1))
	}
	for _, seed := range []string{
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
		"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"\r\nhello\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\r\nX: y\r\n z\r\n\r\n",
		"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n\x81\x00\x00",
	} {
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, sent []byte, piece uint8) {
		out := through(t, sent, int(piece))
		if again := through(t, sent, 1); !bytes.Equal(again, out) {
			t.Fatalf("got %q, and byte by byte %q", out, again)
		}
		heads, ends := found(sent)
		if !bytes.HasPrefix(out, sent[:max(latest(ends), 0)]) {
			t.Fatalf("what passed is %q of %q", out, sent)
		}
		agree(t, out, heads, ends)
	})
}

func latest(list []int) int {
	if len(list) == 0 {
		return -1
	}
	return list[len(list)-1]
}

// through gives what a server reads that gets at most so many bytes at a time.
func through(t *testing.T, sent []byte, piece int) []byte {
	conn := NewConn(&sender{rest: sent, piece: max(piece, 1)})
	out, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// found gives where the follower sees the ends of heads and of requests.
func found(sent []byte) (heads, ends []int) {
	var f follower
	for i := range sent {
		before := f
		if n, v := f.follow(sent[i : i+1]); v == bad {
			return heads, ends
		} else if n != 1 {
			panic("a byte is refused without a reason")
		} else if before.state == sectionLF && !before.trailer {
			if heads = append(heads, i+1); v == last {
				return heads, ends
			}
		}
		if f.state == start && (before.state == sectionLF || before.state == body) {
			ends = append(ends, i+1)
		}
	}
	return heads, ends
}

// count is how many fields of the name there are.
func count(head []byte, name string) int {
	return bytes.Count(bytes.ToLower(head), []byte("\r\n"+name+":"))
}

// agree has net/http read what has passed.
func agree(t *testing.T, out []byte, heads, ends []int) {
	source := bytes.NewReader(out)
	in := bufio.NewReader(source)
	begin := 0
	for n := 0; ; n++ {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if n >= len(heads) {
			t.Fatalf("net/http reads a head more than the %d at %v of %q", n, heads, out)
		}
		if at := len(out) - source.Len() - in.Buffered(); at != heads[n] {
			t.Fatalf("to net/http head %d of %q ends at %d, want %d", n, out, at, heads[n])
		}
		if r.ProtoMajor != 1 {
			return // the server refuses it
		}
		head := out[begin:heads[n]]
		if !wellFormed.Match(head) {
			t.Fatalf("%q passes", head)
		}
		hosts, lengths, codings := count(head, "host"), count(head, "content-length"), count(head, "transfer-encoding")
		if hosts > 1 || hosts < r.ProtoMinor || lengths+codings > 1 || codings > r.ProtoMinor {
			t.Fatalf("%q passes", head)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if n >= len(ends) {
			t.Fatalf("net/http reads a request more than the %d that end at %v of %q", n, ends, out)
		}
		if at := len(out) - source.Len() - in.Buffered(); at != ends[n] {
			t.Fatalf("to net/http request %d of %q ends at %d, want %d", n, out, at, ends[n])
		}
		if r.TransferEncoding == nil && len(body) != ends[n]-heads[n] {
			t.Fatalf("the body of request %d of %q is %q", n, out, body)
		}
		begin = ends[n]
		if r.Method == http.MethodPost { // as net/http's server does it
			ahead, _ := in.Peek(4)
			if i := slices.IndexFunc(ahead, func(b byte) bool { return b != '\r' && b != '\n' }); i >= 0 {
				ahead = ahead[:i]
			}
			_, _ = in.Discard(len(ahead))
		}
	}
}
