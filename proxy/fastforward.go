package proxy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/proxy/plain"
)

const (
	// firstLook is when an answer has taken long enough to look after the client, who may
	// have gone.
	firstLook = 50 * time.Millisecond
)

// errLeft: the client has gone away, or cannot be told any more.
var errLeft = errors.New("the client has gone away")

// forward serves the request at the beginning of c.in, which has size bytes and is counted
// in. It reports whether there may be another one on the connection.
func (c *fastConn) forward(endpoint tenant.Endpoint, release func(), size int) (another bool) {
	now := time.Now()
	a := &c.answer
	meter := endpoint.Meter()
	*a = answer{
		begun: now, service: c.id.Service,
		visit: visit{id: c.id, endpoint: endpoint, acquired: now, meter: meter, release: release},
	}
	defer c.proxy.over(a)
	defer a.visit.countOut()
	writeRequestID(&c.requestID, now)
	c.record()
	meter.Request()
	meter.Received(int(c.req.Length))
	closing := c.req.Close || c.server.draining.Load()
	err := c.exchange(c.in[size-int(c.req.Length):size], size, closing)
	c.stopWatch()
	a.returned = err == nil
	return err == nil && !closing && !c.server.draining.Load()
}

// record begins to note what is logged of the request, if anything is.
func (c *fastConn) record() {
	if c.proxy.access == nil {
		return
	}
	path, ok := c.proxy.logged(c.id, string(c.req.Target))
	if !ok {
		return
	}
	c.answer.access = &tenant.Access{
		ID: c.id, Begun: c.answer.begun, Method: c.method(), Host: c.host, Path: path, UserAgent: c.agent,
		RequestID: string(c.requestID[:]), Remote: c.remote,
	}
}

// exchange sends the request to the app and its answer to the client. An error says that the
// client's connection is of no use any more.
func (c *fastConn) exchange(body []byte, size int, closing bool) error {
	v := &c.answer.visit
	pool := c.proxy.pools.get(v)
	v.generation = pool.key.generation
	repeat := len(body) == 0 && isSafe(c.req.Method)
	conn := pool.spare.take(v.acquired, !repeat)
	reused := conn != nil
	if !reused {
		var err error
		if conn, err = dialApp(c.ctx, v.endpoint); err != nil {
			return c.byOthers(size, closing, failed(err)) //nolint:bodyclose // the reverse proxy closes it
		}
	}
	out := append(c.appendHead(c.out[:0]), body...)
	sent, werr := conn.Write(out)
	have, head, verdict, err := c.answerOf(conn, pool, reused)
	switch {
	case err == nil && verdict == plain.Taken:
		return c.relay(conn, pool, head, have, closing)
	case err == nil:
		defer conn.Close()
		return c.byOthers(size, closing, resume(pool.key, conn.Conn, c.buf[:have])) //nolint:bodyclose // the reverse proxy closes it
	}
	unread := have == 0 && errors.Is(err, io.EOF) && (werr != nil || unseen(conn.raw, len(out)))
	conn.Close()
	switch {
	case c.watch.gone.Load():
		return errLeft
	case have > 0 && errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	case have == 0 && reused && (sent == 0 && werr != nil && !isTimeout(err) || repeat && unread):
		// The app has given up the connection, as it may, before it knew of the request.
		return c.byOthers(size, closing, nil)
	case unread:
		err = syscall.ECONNRESET // it cannot have read anything
	}
	return c.byOthers(size, closing, failed(err)) //nolint:bodyclose // the reverse proxy closes it
}

// failed is a first attempt that has come to an error.
func failed(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// isSafe reports whether a request may be made again; see repeatable.
func isSafe(method []byte) bool {
	switch string(method) {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return false
}

// answerOf reads an answer's head into the buffer, which then has so many bytes.
func (c *fastConn) answerOf(conn *appConn, pool *pool, reused bool) (have, head int, v plain.Verdict, err error) {
	buf := c.buf
	isHead := string(c.req.Method) == http.MethodHead
	sent := time.Now()
	var limit time.Time
	if timeout := c.answer.visit.endpoint.RequestTimeout(); timeout > 0 {
		limit = sent.Add(timeout)
	}
	deadline := earlier(sent.Add(firstLook), limit)
	for watched := false; ; {
		_ = conn.SetReadDeadline(deadline)
		var n int
		n, err = conn.Read(buf[have:])
		have += n
		if n > 0 {
			if head, v = c.app.Read(buf[:have], isHead); v == plain.Taken {
				return have, head, v, nil
			}
			if v == plain.Odd || have == len(buf) {
				return have, 0, plain.Odd, nil
			}
			continue
		}
		now := time.Now()
		if !isTimeout(err) || !limit.IsZero() && !now.Before(limit) {
			return have, 0, 0, err
		}
		if !watched {
			c.startWatch(func() { conn.Close() })
			watched = true
		}
		deadline = limit
		if !reused && have == 0 {
			// An app that serves one connection at a time may wait on another one of ours.
			pool.closeIdle()
			deadline = earlier(now.Add(stallTimeout), limit)
		}
	}
}

// earlier gives the earlier of two moments; a zero one is never.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// appendHead appends the head of the request to the app.
func (c *fastConn) appendHead(out []byte) []byte {
	r := &c.req
	out = append(out, r.Method...)
	out = append(out, ' ')
	out = append(out, r.Target...)
	out = append(out, " HTTP/1.1\r\nHost: "...)
	out = append(out, r.Host...)
	out = append(out, "\r\n"...)
	for _, f := range r.Fields {
		out = appendField(out, f)
	}
	switch {
	case r.Length > 0, string(r.Method) == http.MethodPost, string(r.Method) == http.MethodPut, string(r.Method) == http.MethodPatch:
		out = append(out, "Content-Length: "...)
		out = strconv.AppendInt(out, r.Length, 10)
		out = append(out, "\r\n"...)
	}
	out = append(out, "X-Forwarded-For: "...)
	out = append(out, c.remote...)
	out = append(out, "\r\nX-Forwarded-Host: "...)
	out = append(out, r.Host...)
	out = append(out, "\r\nX-Forwarded-Proto: http"...)
	if c.secure != nil {
		out = append(out, 's')
	}
	out = append(out, "\r\n"+requestIDHeader+": "...)
	out = append(out, c.requestID[:]...)
	out = append(out, "\r\n"+hopHeader+": "...)
	out = append(out, c.proxy.hop...)
	return append(out, "\r\n\r\n"...)
}

func appendField(out []byte, f plain.Field) []byte {
	out = append(out, f.Name...)
	out = append(out, ": "...)
	out = append(out, f.Value...)
	return append(out, "\r\n"...)
}
