package proxy

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"tenement.dev/proxy/plain"
)

// relay sends an answer to the client, of which the buffer has the first bytes. An answer that
// cannot be completed ends the client's connection.
func (c *fastConn) relay(closing bool) error {
	c.answer.status = c.app.Status
	c.hasAnswered(c.proxy)
	c.out = c.appendAnswer(c.out[:0], c.visit.answered, c.upload.answered() || closing)
	rest := c.buf[c.head:c.have]
	if c.app.Chunked {
		return c.relayChunks(rest)
	}
	length := max(c.app.Length, 0)
	if string(c.req.Method) == http.MethodHead {
		length = 0
	}
	data := rest[:min(int64(len(rest)), length)]
	out, left := append(c.out, data...), length-int64(len(data))
	if left == 0 {
		c.part(len(data) == len(rest))
	}
	n, err := c.conn.Write(out)
	c.sent(max(n-len(c.out), 0))
	switch {
	case err != nil:
		return errLeft
	case left > 0:
		return c.relayRest(left)
	}
	return nil
}

// sent counts bytes of the body that the client has been sent.
func (c *fastConn) sent(n int) {
	c.answer.visit.meter.Sent(n)
	c.answer.bytes.Add(int64(n))
}

// appendAnswer appends the head of the answer to the client.
func (c *fastConn) appendAnswer(out []byte, now time.Time, closing bool) []byte {
	out = appendStatus(out, c.app.Status)
	for _, f := range c.app.Fields {
		out = appendField(out, f)
	}
	switch {
	case c.app.Chunked:
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	case !c.app.Bodyless():
		out = append(out, "Content-Length: "...)
		out = strconv.AppendInt(out, c.app.Length, 10)
		out = append(out, "\r\n"...)
	}
	out = append(out, requestIDHeader+": "...)
	out = append(out, c.requestID[:]...)
	out = append(out, "\r\n"...)
	if c.secure != nil && c.policy != "" {
		out = append(out, "Strict-Transport-Security: "...)
		out = append(out, c.policy...)
		out = append(out, "\r\n"...)
	}
	if c.cookie != "" {
		out = append(out, "Set-Cookie: "...)
		out = append(out, c.cookie...)
		out = append(out, "\r\n"...)
	}
	if !c.app.Dated {
		out = appendDate(out, now)
	}
	if closing {
		out = append(out, "Connection: close\r\n"...)
	}
	return append(out, "\r\n"...)
}

func appendStatus(out []byte, status int) []byte {
	if status == http.StatusOK {
		return append(out, "HTTP/1.1 200 OK\r\n"...)
	}
	out = append(out, "HTTP/1.1 "...)
	out = strconv.AppendInt(out, int64(status), 10)
	out = append(out, ' ')
	if text := http.StatusText(status); text != "" {
		out = append(out, text...)
	} else {
		out = append(out, "status code "...) // as net/http has it
		out = strconv.AppendInt(out, int64(status), 10)
	}
	return append(out, "\r\n"...)
}

// date is the line that tells of a second.
type date struct {
	second int64
	line   []byte
}

var lastDate atomic.Pointer[date]

func appendDate(out []byte, now time.Time) []byte {
	d := lastDate.Load()
	if second := now.Unix(); d == nil || d.second != second {
		d = &date{second, []byte("Date: " + now.UTC().Format(http.TimeFormat) + "\r\n")}
		lastDate.Store(d)
	}
	return append(out, d.line...)
}

// relayRest sends the rest of a body of a known length.
func (c *fastConn) relayRest(left int64) error {
	c.untilGone()
	buf := c.buf
	if left > int64(len(buf)) {
		large, _ := largeBuffers.Get().(*[]byte)
		defer largeBuffers.Put(large)
		buf = *large
	}
	for left > 0 {
		n, err := c.upstream.Read(buf[:min(left, int64(len(buf)))])
		if n > 0 {
			if left -= int64(n); left == 0 {
				c.part(true)
			}
			w, werr := c.conn.Write(buf[:n])
			c.sent(w)
			if werr != nil {
				return errLeft
			}
		}
		if err != nil && left > 0 {
			return errLeft
		}
	}
	return nil
}

// largeBuffers are lent for large bodies: what costs there is the system calls.
var largeBuffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// relayChunks sends a body in chunks of our own, as they come; rest is the beginning of the
// app's. The head has not been sent.
func (c *fastConn) relayChunks(rest []byte) error {
	var chunks plain.Chunks
	watched := false
	out := c.out
	for {
		size, behind := 0, false // what is behind the body has no place there
		for p := rest; len(p) > 0 && !chunks.Ended(); {
			data, used, ok := chunks.Next(p)
			if !ok { // what came before it goes to the client, whose connection then ends
				_, _ = c.conn.Write(out)
				c.sent(size)
				return errLeft
			}
			p = p[used:]
			if len(data) > 0 {
				out = appendChunk(out, data)
				size += len(data)
			}
			behind = len(p) > 0
		}
		ended := chunks.Ended()
		if ended {
			out = append(out, "0\r\n\r\n"...)
			c.part(!behind)
		}
		if len(out) > 0 {
			_, err := c.conn.Write(out)
			if err != nil {
				return errLeft
			}
			c.sent(size)
		}
		c.out = out[:0]
		out = c.out
		if ended {
			return nil
		}
		if !watched {
			c.untilGone()
			watched = true
		}
		n, err := c.upstream.Read(c.buf)
		if n == 0 && err != nil {
			return errLeft
		}
		rest = c.buf[:n]
	}
}

func appendChunk(out, data []byte) []byte {
	out = strconv.AppendInt(out, int64(len(data)), 16)
	out = append(out, "\r\n"...)
	out = append(out, data...)
	return append(out, "\r\n"...)
}
