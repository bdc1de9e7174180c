package proxy

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// relay sends an answer to the client, of which the buffer has the first bytes. An answer that
// cannot be completed ends the client's connection.
func (c *fastConn) relay() error {
	c.answer.status = c.app.Status
	c.hasAnswered(c.proxy)
	c.closing = c.upload.answered() || c.closing || c.proxy.parting.Load()
	c.out = c.appendAnswer(c.out[:0], c.visit.answered)
	return c.relayBody(string(c.req.Method) == http.MethodHead)
}

// send implements client. The head goes with the first bytes.
func (c *fastConn) send(p []byte, last bool) error {
	head := len(c.out)
	if head > 0 {
		p = append(c.out, p...)
		c.out = c.out[:0]
	}
	if len(p) == 0 {
		return nil
	}
	c.boundWrite(last)
	n, err := c.conn.Write(p)
	c.sent(max(n-head, 0))
	if err != nil {
		return errLeft
	}
	return nil
}

// chunk implements client. Chunks are of our own, as the app's come.
func (c *fastConn) chunk(p []byte) error {
	if len(p) > 0 {
		c.out = appendChunk(c.out, p)
		c.chunked += len(p)
	}
	return nil
}

// flush implements client.
func (c *fastConn) flush(ended bool) error {
	if ended {
		c.out = append(c.out, "0\r\n\r\n"...)
	}
	size, out := c.chunked, c.out
	c.chunked, c.out = 0, c.out[:0]
	if len(out) == 0 {
		return nil
	}
	c.boundWrite(ended)
	if _, err := c.conn.Write(out); err != nil {
		return errLeft
	}
	c.sent(size)
	return nil
}

// boundWrite bounds the next write if it is not the last one: with that the app has nothing to
// do any more.
func (c *fastConn) boundWrite(last bool) {
	switch {
	case !last:
		_ = c.conn.SetWriteDeadline(time.Now().Add(c.proxy.stall))
	case c.bounded:
		_ = c.conn.SetWriteDeadline(time.Time{})
	}
	c.bounded = !last
}

// sent counts bytes of the body that the client has been sent.
func (c *fastConn) sent(n int) {
	c.answer.visit.meter.Sent(n)
	c.answer.bytes.Add(int64(n))
}

// appendAnswer appends the head of the answer to the client.
func (c *fastConn) appendAnswer(out []byte, now time.Time) []byte {
	out = appendStatus(out, c.app.Status)
	if c.secure != nil && c.policy != "" { // before the app's, of which browsers take no second one (RFC 6797, section 8.1)
		out = append(out, "Strict-Transport-Security: "...)
		out = append(out, c.policy...)
		out = append(out, "\r\n"...)
	}
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
	if c.cookie != "" {
		out = append(out, "Set-Cookie: "...)
		out = append(out, c.cookie...)
		out = append(out, "\r\n"...)
	}
	if !c.app.Dated {
		out = appendDate(out, now)
	}
	if c.closing {
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

func appendChunk(out, data []byte) []byte {
	out = strconv.AppendInt(out, int64(len(data)), 16)
	out = append(out, "\r\n"...)
	out = append(out, data...)
	return append(out, "\r\n"...)
}
