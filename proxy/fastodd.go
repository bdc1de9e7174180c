package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// byOthers has the reverse proxy of the slow path end a request that has been begun on the
// fast path: what its answer is unlike others in, or its failure, has its home there.
func (c *fastConn) byOthers() (err error) {
	c.last = nil
	r, err := c.requestAgain()
	if err != nil {
		return err
	}
	r.Header[requestIDHeader] = []string{string(c.requestID[:])}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	c.startWatch(cancel)
	defer c.stopWatch()
	a := &c.answer
	w := &fastWriter{conn: c.conn, header: http.Header{}, head: r.Method == http.MethodHead, parting: &c.proxy.parting, closing: c.closing, upload: c.upload}
	if c.secure != nil && c.policy != "" {
		w.header.Set("Strict-Transport-Security", c.policy)
	}
	if c.cookie != "" {
		w.header.Set("Set-Cookie", c.cookie)
	}
	a.ResponseWriter = w
	v := &a.visit
	out := r
	if c.upload != nil { // what is to be sent of the body has been, or is meanwhile
		r.Body = &c.upload.body
		out = r.Clone(ctx)
		out.Body, out.ContentLength = http.NoBody, -1 // which is a body still: it cannot be made again
	}
	v.in, v.to, v.headers, v.local = r.WithContext(ctx), a, w.header.Clone(), fromLoopback(r.WithContext(ctx))
	defer func() {
		if cause := recover(); cause != nil {
			if cause != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
				panic(cause)
			}
			err = errLeft
		}
	}()
	defer func() { c.closing = w.closing }()
	defer c.proxy.pools.used(v.id)
	c.proxy.reverse.ServeHTTP(a, out.WithContext(boundInformational(context.WithValue(ctx, visitKey{}, v))))
	return w.finish()
}

// requestAgain reads the request at the beginning of c.in as net/http does.
func (c *fastConn) requestAgain() (*http.Request, error) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(slices.Clone(c.in[:c.size]))))
	if err != nil {
		return nil, fmt.Errorf("read the request again: %w", err)
	}
	r.RemoteAddr = c.conn.RemoteAddr().String()
	if c.secure != nil {
		state := c.secure.ConnectionState()
		r.TLS = &state
	}
	return r, nil
}

// fastWriter is a http.ResponseWriter for the client.
type fastWriter struct {
	conn    net.Conn
	header  http.Header
	head    bool // the request is HEAD
	parting *atomic.Bool
	closing bool    // the client is told, or has said, that this is the last answer
	upload  *upload // which may go on, nil where there is none

	status  int
	begun   bool   // the head has been written
	chunked bool   // the body comes in chunks
	left    int64  // what is missing of a body of a known length
	pending []byte // the beginning of a body whose head has not been written
	err     error
}

// maxPending is how much of a body is kept, whose length is told if that is all, in bytes.
const maxPending = 2 << 10

// Header implements http.ResponseWriter.
func (w *fastWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *fastWriter) WriteHeader(status int) {
	switch {
	case w.status != 0:
	case status >= 200:
		w.status = status
	case status != http.StatusSwitchingProtocols:
		var b bytes.Buffer
		b.Write(appendStatus(nil, status))
		_ = w.header.WriteSubset(&b, withoutFraming)
		b.WriteString("\r\n")
		w.write(b.Bytes())
	}
}

// withoutFraming are the fields that are written by themselves, or not at all.
var withoutFraming = map[string]bool{"Content-Length": true, "Transfer-Encoding": true, "Connection": true}

// begin writes the head, with the length of the body if all of that is there.
func (w *fastWriter) begin(complete bool) {
	if w.begun {
		return
	}
	w.begun = true
	if w.status == 0 {
		w.status = http.StatusOK
	}
	now := time.Now()
	b := bytes.NewBuffer(appendStatus(nil, w.status))
	exclude := map[string]bool{"Transfer-Encoding": true, "Connection": true, "Content-Length": true}
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			exclude[name], complete = true, false
		}
	}
	length, told := int64(len(w.pending)), complete
	if text := w.header.Get("Content-Length"); text != "" {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
			length, told = n, true
		}
	} else if w.head || w.header["Trailer"] != nil {
		told = false
	}
	bodyless := w.head || w.status == http.StatusNoContent || w.status == http.StatusNotModified
	_ = w.header.WriteSubset(b, exclude)
	switch {
	case told && w.status != http.StatusNoContent && (!bodyless || w.header.Get("Content-Length") != ""):
		fmt.Fprintf(b, "Content-Length: %d\r\n", length)
		w.left = length
	case !bodyless:
		w.chunked = true
		b.WriteString("Transfer-Encoding: chunked\r\n")
	}
	if bodyless {
		w.left = 0
		w.pending = nil
	}
	if w.header.Get("Date") == "" {
		b.Write(appendDate(nil, now))
	}
	if w.closing = w.upload.answered() || w.closing || w.parting.Load(); w.closing {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	w.body(b, w.pending)
	w.pending = nil
}

// body writes what is in b, and data behind it.
func (w *fastWriter) body(b *bytes.Buffer, data []byte) {
	switch {
	case len(data) == 0:
	case w.chunked:
		b.Write(appendChunk(nil, data))
	default:
		if int64(len(data)) > w.left {
			w.err = http.ErrContentLength
			return
		}
		w.left -= int64(len(data))
		b.Write(data)
	}
	w.write(b.Bytes())
}

func (w *fastWriter) write(p []byte) {
	if w.err == nil && len(p) > 0 {
		_, w.err = w.conn.Write(p)
	}
}

// Write implements io.Writer.
func (w *fastWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	switch {
	case w.head || w.status == http.StatusNoContent || w.status == http.StatusNotModified:
		return 0, http.ErrBodyNotAllowed
	case !w.begun && len(w.pending)+len(p) <= maxPending:
		w.pending = append(w.pending, p...)
		return len(p), nil
	}
	w.begin(false)
	w.body(&bytes.Buffer{}, p)
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// SetWriteDeadline is for http.ResponseController.
func (w *fastWriter) SetWriteDeadline(t time.Time) error { return w.conn.SetWriteDeadline(t) }

// FlushError is for http.ResponseController.
func (w *fastWriter) FlushError() error {
	w.begin(false)
	return w.err
}

// finish ends the answer.
func (w *fastWriter) finish() error {
	w.begin(true)
	switch {
	case w.chunked:
		b := bytes.NewBufferString("0\r\n")
		trailers := http.Header{}
		for name, values := range w.header {
			if bare, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
				trailers[http.CanonicalHeaderKey(bare)] = values
			}
		}
		for _, list := range w.header["Trailer"] {
			for name := range strings.SplitSeq(list, ",") {
				if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); w.header[name] != nil {
					trailers[name] = w.header[name]
				}
			}
		}
		_ = trailers.Write(b)
		b.WriteString("\r\n")
		w.write(b.Bytes())
	case w.left > 0 && w.err == nil:
		w.err = io.ErrShortWrite
	}
	return w.err
}

// resume is a first attempt whose request has been written to conn, and read of the answer.
func resume(key poolKey, conn net.Conn, read []byte, u *upload) func(*http.Request) (*http.Response, error) {
	_ = conn.SetReadDeadline(time.Time{})
	c := &resumed{Conn: conn, read: slices.Clone(read), asked: make(chan struct{}), closed: make(chan struct{})}
	if u.goesOn() {
		c.upload = u.over
	}
	return func(r *http.Request) (*http.Response, error) {
		t := newTransport(key, freshTime, func() {})
		t.DisableKeepAlives = true
		t.DialContext = func(context.Context, string, string) (net.Conn, error) { return c, nil }
		return t.RoundTrip(r)
	}
}

// resumed is a connection whose request has been written already: the transport that writes
// it again only reads the answer, from its beginning.
type resumed struct {
	net.Conn
	read   []byte
	upload <-chan struct{} // closed when all is written; nil where it is
	asked  chan struct{}   // closed with the first write: before, an answer would be unasked for
	closed chan struct{}
	once   sync.Once
	end    sync.Once
}

// Write takes the request, when all of it has been written: the app has its time from then on.
func (c *resumed) Write(p []byte) (int, error) {
	c.once.Do(func() { close(c.asked) })
	if c.upload != nil {
		select {
		case <-c.upload:
		case <-c.closed:
		}
	}
	return len(p), nil
}

// Read gives what was read, and then what comes.
func (c *resumed) Read(p []byte) (int, error) {
	select {
	case <-c.asked:
	case <-c.closed:
		return 0, errors.New("closed")
	}
	if len(c.read) > 0 {
		n := copy(p, c.read)
		c.read = c.read[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// Close implements io.Closer.
func (c *resumed) Close() error {
	c.end.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
