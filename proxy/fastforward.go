package proxy

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/proxy/plain"
)

// errLeft: the client has gone away, or cannot be told any more.
var errLeft = errors.New("the client has gone away")

// forward serves the request at the beginning of c.in, which is counted in. It reports whether
// there may be another one on the connection.
func (c *fastConn) forward(endpoint tenant.Endpoint, release func()) (another bool) {
	now := time.Now()
	a := &c.answer
	meter := endpoint.Meter()
	*a = answer{
		begun: now, service: c.id.Service, stall: c.proxy.stall,
		visit: visit{id: c.id, endpoint: endpoint, acquired: now, meter: meter, release: release},
	}
	defer c.proxy.over(a)
	defer a.visit.countOut()
	writeRequestID(&c.requestID, now)
	c.record()
	meter.Request()
	body := c.in[c.headSize:c.size]
	meter.Received(len(body))
	c.upload = nil
	if left := c.req.Length - int64(len(body)); left > 0 {
		c.upload = newUpload(c, meter, endpoint.RequestTimeout(), left)
	}
	c.closing = c.req.Close
	err := c.pass(body)
	c.stopWatch()
	a.returned = err == nil
	return err == nil && !c.closing && !c.upload.wasEarly()
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

// pass sends the request to the app and its answer to the client. An error says that the
// client's connection is of no use any more.
func (c *fastConn) pass(body []byte) error {
	defer c.hangUp()
	c.out = append(c.appendHead(c.out[:0]), body...)
	method := c.method()
	switch {
	case c.ask(c.ctx, c.proxy.pools, &c.answer.visit, c, method == http.MethodHead, c.req.Length == 0 && isSafe(method)):
		return c.relay()
	case c.hasLeft():
		return errLeft
	}
	return c.byOthers()
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
