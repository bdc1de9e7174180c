package proxy

import (
	"context"
	"io"
	"mime"
	"net/http"
	"strings"
)

// asStream makes a response that has no foreseeable end keep its instance awake by
// its traffic alone: a forgotten tab must not do so for ever, and one that is read
// must. What counts is data, not the heartbeats that keep the connection open.
func (p *Proxy) asStream(resp *http.Response, v *visit) {
	endpoint := v.endpoint
	ctx := resp.Request.Context()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		body, ok := resp.Body.(io.ReadWriteCloser)
		if !ok {
			return // the reverse proxy refuses it
		}
		v.stream = true
		v.upgraded = p.newUpgraded(ctx, body, v, strings.EqualFold(resp.Header.Get("Upgrade"), "websocket"))
		resp.Body = v.upgraded
		return
	}
	if mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && mediaType == "text/event-stream" {
		v.stream = true
		e := &events{ReadCloser: resp.Body, ctx: ctx, touch: endpoint.Stream(), lineStart: true}
		e.watch = p.watchEnd(ctx, endpoint, func(*watch) { e.ReadCloser.Close() })
		resp.Body = e
	}
}

// frames follows one direction of a WebSocket connection to tell data frames from
// control frames (RFC 6455, section 5.2).
type frames struct {
	head []byte // of the frame whose header is incomplete
	left uint64 // bytes of the present frame's payload to come
	kind byte   // the present frame's opcode
	// closing: there was a close frame, after which nothing follows.
	closing bool
	// closeAt is where that begins in the bytes that were looked at last, or -1.
	closeAt int
}

// between reports whether a frame may begin here.
func (f *frames) between() bool { return f.left == 0 && len(f.head) == 0 }

// data reports whether p, the next bytes of the connection, has any of a data frame.
func (f *frames) data(p []byte) bool {
	found := false
	all, begin := len(p), -1 // begin is where the present frame begins
	f.closeAt = -1
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, uint64(len(p)))
			f.left -= n
			p = p[n:]
			found = found || f.kind < 8
			continue
		}
		if len(f.head) == 0 {
			begin = all - len(p)
		}
		f.head = append(f.head, p[0])
		p = p[1:]
		if len(f.head) < 2 || len(f.head) < f.headLen() {
			continue
		}
		f.kind = f.head[0] & 0x0f
		f.left = f.payloadLen()
		f.head = f.head[:0]
		if f.kind == 8 && !f.closing {
			f.closing, f.closeAt = true, begin
		}
		found = found || f.kind < 8
	}
	return found
}

// headLen is the length of the frame's header, of which two bytes are there.
func (f *frames) headLen() int {
	n := 2
	switch f.head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if f.head[1]&0x80 != 0 {
		n += 4 // masking key
	}
	return n
}

func (f *frames) payloadLen() uint64 {
	var extended []byte
	switch short := f.head[1] & 0x7f; short {
	case 126:
		extended = f.head[2:4]
	case 127:
		extended = f.head[2:10]
	default:
		return uint64(short)
	}
	var n uint64
	for _, b := range extended {
		n = n<<8 | uint64(b)
	}
	return n
}

// events is the body of a server-sent event stream. Comment lines, which begin with
// a colon, are heartbeats (HTML Living Standard, section 9.2.6).
type events struct {
	io.ReadCloser
	ctx       context.Context
	touch     func(context.Context) error
	lineStart bool
	comment   bool // the present line is one
	watch     *watch
}

// Close implements io.Closer.
func (e *events) Close() error {
	e.watch.end()
	return e.ReadCloser.Close()
}

// Read gives what the app sends, until its end or that of the instance; clients connect
// again after both.
func (e *events) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	if err != nil && e.watch.begun() {
		err = io.EOF
	}
	if e.data(p[:n]) {
		_ = e.touch(e.ctx) // it sends, so it is awake
	}
	return n, err
}

// data reports whether p has anything but comments and empty lines.
func (e *events) data(p []byte) bool {
	found := false
	for _, c := range p {
		switch {
		case c == '\n' || c == '\r':
			e.lineStart, e.comment = true, false
		case e.lineStart:
			e.lineStart, e.comment = false, c == ':'
			found = found || !e.comment
		default:
			found = found || !e.comment
		}
	}
	return found
}
