package proxy

import (
	"context"
	"net/http"
)

// stays reports whether the connection stays on the fast path although its request, which has
// not been acquired, cannot be served there: the instance sleeps, or is busy, or takes each
// request on a connection of its own. What comes next is most likely for the same instance,
// awake by then; and net/http would take several times the memory for as long as the connection
// lasts.
func (c *fastConn) stays() bool {
	return isFetch(c.req.Method) && c.req.Length == 0 && !c.proxy.trusted(c.peer) && c.kind != Root && c.id.Name != ""
}

func isFetch(method []byte) bool {
	return string(method) == http.MethodGet || string(method) == http.MethodHead
}

// slowly has the request at the beginning of c.in served as if it had come through net/http. It
// reports whether there may be another one on the connection.
func (c *fastConn) slowly() (another bool) {
	r, err := c.requestAgain()
	if err != nil {
		c.proxy.log.Error("request not read again", "err", err)
		return false
	}
	closing := c.req.Close
	c.rest() // it may have to wait
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	made := c.choice
	if made.made {
		ctx = context.WithValue(ctx, choiceKey{}, &made)
	}
	c.startWatch(cancel)
	defer func() {
		c.stopWatch()
		cause := recover()
		if cause != nil && cause != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
			panic(cause)
		}
		another = another && cause == nil && !c.hasLeft()
		c.exchange, c.choice = newExchange(), choice{}
		c.end = copy(c.in, c.in[c.size:c.end])
		c.posted = false
	}()
	w := &fastWriter{conn: c.conn, header: http.Header{}, head: r.Method == http.MethodHead, parting: &c.proxy.parting, closing: closing}
	c.server.http.Handler.ServeHTTP(w, r.WithContext(ctx))
	return w.finish() == nil && !w.closing
}
