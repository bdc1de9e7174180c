package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/proxy/plain"
)

const (
	// maxPlain bounds the head of a request on the fast path, and what is sent with it of a
	// body, in bytes.
	maxPlain = 8 << 10
	// bodyPatience is how long the rest of a body is waited for that could be sent with its head.
	bodyPatience = 50 * time.Millisecond
	// idleSlack is the part of its time by which an idle connection may live shorter: a
	// deadline is not moved for every request.
	idleSlack = 16
)

// The states of a fastConn: a drain closes the new and idle ones.
const (
	fastNew int32 = iota
	fastIdle
	fastActive
	fastOver
)

// fastConn is a client's connection on the fast path. All of it belongs to one goroutine,
// but for state.
type fastConn struct {
	*fast
	proxy  *Proxy
	conn   net.Conn
	secure *tls.Conn // nil without
	peer   netip.Addr
	remote string          // the address as text
	ctx    context.Context // as a server of net/http would give it
	begun  time.Time
	state  atomic.Int32

	// in are the bytes that were read, end is where they end. Those of the present request are
	// at its beginning: size of them, headSize of these its head.
	in       []byte
	lent     *[]byte // what in is
	end      int
	headSize int
	size     int
	deadline time.Time // of reading
	posted   bool      // the last request was a POST
	bounded  bool      // the last write had a deadline

	*exchange // nil while nothing has come
	answer    answer
	id        tenant.ID       // the instance
	last      tenant.Endpoint // what it was acquired with, nil where that may be in use by others
	requestID [requestIDSize]byte
	chunked   int  // how many bytes of the answer's body are in out
	closing   bool // the client is told, or has said, that the answer is the last one
	watch     clientWatch

	// What was found for the last Host and the last User-Agent, which mostly stay the same.
	host      string
	named     tenant.ID
	kind      Kind
	name      string // where it is nobody's below the domains
	agent     string
	agentKind tenant.Kinds

	// choice is the instance that was chosen for a request to a service, cookie what the
	// client of a sticky one is to send from now on, or empty.
	choice choice
	cookie string
}

var fastIns = sync.Pool{New: func() any { b := make([]byte, maxPlain); return &b }}

func newFastConn(f *fast, conn net.Conn) *fastConn {
	c := &fastConn{fast: f, proxy: f.server.proxy, conn: conn, begun: time.Now()}
	c.lent, _ = fastIns.Get().(*[]byte)
	c.in = *c.lent
	c.secure, _ = conn.(*tls.Conn)
	if addr, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		c.peer = addr.AddrPort().Addr().Unmap()
	}
	c.remote = c.peer.String()
	c.ctx = ConnContext(f.ctx, conn)
	return c
}

// serve serves requests until the connection has ended, or one that others shall serve
// begins at the beginning of c.in.
func (c *fastConn) serve() (others bool) {
	defer func() {
		if cause := recover(); cause != nil { // as net/http has it: it may be one app's fault
			c.proxy.log.Error("panic while serving", "remote", c.remote, "panic", cause, "stack", string(debug.Stack()))
			others = false
			return // what was lent may be in use
		}
		c.rest()
		if !others {
			fastIns.Put(c.lent)
		}
	}()
	for {
		switch c.next() {
		case plain.More:
			return false
		case plain.Odd:
			return true
		}
		endpoint, release, ok := c.acquire()
		switch {
		case ok:
		case !c.stays():
			return true
		case c.slowly():
			continue
		default:
			return false
		}
		if !c.forward(endpoint, release) {
			c.linger()
			return false
		}
		c.choice = choice{}
		c.posted = string(c.req.Method) == http.MethodPost
		c.end = copy(c.in, c.in[c.size:c.end])
	}
}

// next reads the next request, all of it or the head and what is there of the body; More is
// for none.
func (c *fastConn) next() (v plain.Verdict) {
	if c.end == 0 && !c.await() {
		return plain.More
	}
	c.headSize = 0
	for bounded := plain.Odd; ; {
		if c.headSize == 0 {
			c.skipLine()
			if c.headSize, v = c.req.Read(c.in[:c.end]); v == plain.Odd {
				return plain.Odd
			}
		}
		if v == plain.Taken {
			body := min(c.req.Length, int64(c.end-c.headSize))
			c.size = c.headSize + int(body)
			if body == c.req.Length || c.req.Length > int64(len(c.in)-c.headSize) {
				return plain.Taken
			}
		}
		if c.end == len(c.in) {
			return plain.Odd
		}
		if bounded != v { // once for the head and once for the body
			bounded = v
			patience := c.server.http.ReadHeaderTimeout
			if v == plain.Taken {
				patience = bodyPatience
			}
			c.setDeadline(time.Now().Add(patience))
		}
		n, err := c.conn.Read(c.in[c.end:])
		c.end += n
		switch {
		case n > 0:
		case errors.Is(err, io.EOF):
			return plain.Odd
		case v == plain.Taken && isTimeout(err):
			return plain.Taken
		default:
			return plain.More
		}
	}
}

// skipLine skips the empty line that some clients send behind the body of a POST, as net/http
// does (RFC 9112, section 2.2).
func (c *fastConn) skipLine() {
	const line = "\r\n"
	if !c.posted || c.end < len(line) {
		return
	}
	if string(c.in[:len(line)]) == line {
		c.end = copy(c.in, c.in[len(line):c.end])
	}
	c.posted = false
}

// await waits for the first bytes of a request.
func (c *fastConn) await() bool {
	if c.state.Load() == fastNew {
		c.setDeadline(c.begun.Add(c.server.http.ReadHeaderTimeout))
	} else {
		if !c.state.CompareAndSwap(fastActive, fastIdle) {
			return false
		}
		idle := c.server.http.IdleTimeout
		if now := time.Now(); c.deadline.Sub(now) < idle-idle/idleSlack {
			c.setDeadline(now.Add(idle))
		}
	}
	c.rest()
	n, _ := c.conn.Read(c.in)
	c.end = n
	c.exchange = newExchange()
	return n > 0 && (c.state.CompareAndSwap(fastIdle, fastActive) || c.state.CompareAndSwap(fastNew, fastActive))
}

// rest gives back what only a request takes.
func (c *fastConn) rest() {
	if c.exchange != nil {
		c.exchange.end()
		c.exchange = nil
	}
}

func (c *fastConn) setDeadline(t time.Time) {
	c.deadline = t
	_ = c.conn.SetReadDeadline(t)
}

// acquire counts the request in, if its instance is awake.
func (c *fastConn) acquire() (tenant.Endpoint, func(), bool) {
	if c.proxy.trusted(c.peer) || !c.route() {
		return nil, nil, false
	}
	if string(c.req.Agent) != c.agent {
		c.agent = string(c.req.Agent)
		c.agentKind = c.proxy.agents.kind(c.agent)
	}
	path := "" // of which the others do not matter
	switch string(c.req.Path) {
	case "/favicon.ico":
		path = "/favicon.ico"
	case "/robots.txt":
		path = "/robots.txt"
	}
	endpoint, release, ok := c.proxy.waker.AcquireAwake(c.id, visitFor(c.method(), path, c.agentKind, false, c.req.Browses), c.last)
	c.last = endpoint // until others get it
	if ok && !endpoint.KeepAlive() {
		release()
		return nil, nil, false
	}
	return endpoint, release, ok
}

// route finds the instance that the host names, if it names one.
func (c *fastConn) route() bool {
	if string(c.req.Host) != c.host || c.host == "" {
		c.host = string(c.req.Host)
		c.named, c.kind = ParseHost(c.host, c.proxy.domains...)
		c.name, _ = hostName(c.host)
		c.name = strings.ToLower(c.name)
	}
	c.id, c.cookie, c.choice = c.named, "", choice{}
	switch {
	case c.kind == Instance:
		return true
	case c.proxy.router == nil:
		return false
	case c.kind == Foreign:
		var ok bool
		c.id, ok = c.proxy.router.Domain(c.name)
		return ok
	case c.kind == Service:
		return c.choose()
	}
	return false
}

// choose finds the instance for a request to a service.
func (c *fastConn) choose() bool {
	prefer := c.preferred()
	id, sticky, err := c.proxy.router.Route(c.named.Service, prefer, nil)
	if err != nil {
		return false
	}
	c.id = id
	c.choice = choice{id: id, sticky: sticky, made: true}
	if sticky && id.Name != prefer {
		c.cookie = cookieFor(id, c.secure != nil).String()
	}
	return true
}

// preferred is the instance that the client of a sticky service was given before.
func (c *fastConn) preferred() string {
	for _, f := range c.req.Fields {
		if !strings.EqualFold(string(f.Name), "Cookie") || !bytes.Contains(f.Value, []byte(stickyCookie)) {
			continue
		}
		r := http.Request{Header: http.Header{"Cookie": {string(f.Value)}}}
		if cookie, err := r.Cookie(stickyCookie); err == nil {
			return cookie.Value
		}
	}
	return ""
}

// method is the request's, of those that plain takes.
func (c *fastConn) method() string {
	switch string(c.req.Method) {
	case http.MethodGet:
		return http.MethodGet
	case http.MethodHead:
		return http.MethodHead
	case http.MethodPost:
		return http.MethodPost
	}
	return string(c.req.Method)
}
