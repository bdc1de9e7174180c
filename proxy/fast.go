package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"tenement.dev/internal/socket"
	"tenement.dev/proxy/framing"
)

// fast are the connections on the fast path: those of HTTP/1 whose requests leave nothing
// to interpret (see package plain) and are for instances that are awake. One goroutine reads
// a request, writes it to the app, reads the answer and writes it to the client. Where
// anything else comes, and not one byte of it has been sent, net/http goes on with the
// connection and what has been read, and keeps it.
type fast struct {
	server *Server
	// redirect: nobody is served without TLS. policy is what clients of TLS are told.
	redirect bool
	policy   string

	ctx    context.Context // of all connections
	cancel context.CancelFunc
	wg     sync.WaitGroup
	// choices are those made for connections that net/http is about to take over.
	choices sync.Map
	mu      sync.Mutex // guards conns
	conns   map[*fastConn]struct{}
}

// Fast has requests served on the fast path where that can be, and those that net/http reads
// go to the app past the reverse proxy; the handler of the server must be the proxy, or h's
// around it. It is called before Serve.
func (s *Server) Fast(h HTTPS) {
	f := &fast{server: s, redirect: h.Redirect, conns: map[*fastConn]struct{}{}}
	if h.HSTS > 0 {
		f.policy = fmt.Sprintf("max-age=%d", int64(h.HSTS.Seconds()))
	}
	f.ctx, f.cancel = context.WithCancel(context.WithValue(context.Background(), http.ServerContextKey, s.http))
	s.fast = f
	s.proxy.direct = true
}

// takes reports whether connections of that kind may be served here.
func (f *fast) takes(conn net.Conn) bool {
	if f == nil {
		return false
	}
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return !f.redirect && isClients(conn)
	}
	return isClients(secure.NetConn())
}

// isClients reports whether it is the client who is at the other end: behind the PROXY protocol
// that is another.
func isClients(conn net.Conn) bool {
	switch conn.(type) {
	case *socket.Conn, *net.TCPConn:
		return true
	}
	return false
}

// begin serves a connection in a goroutine, to its end or until net/http takes it over.
func (f *fast) begin(conn net.Conn) {
	c := newFastConn(f, conn)
	f.mu.Lock()
	f.conns[c] = struct{}{}
	f.mu.Unlock()
	if f.ctx.Err() != nil {
		conn.Close()
	}
	f.wg.Go(func() {
		defer f.forget(c)
		if !c.serve() {
			conn.Close()
			return
		}
		_ = conn.SetReadDeadline(time.Time{})
		one := &single{conn: framing.NewConn(conn, c.in[:c.end]...)}
		if made := c.choice; made.made {
			f.choices.Store(one.conn, &made)
			defer f.choices.Delete(one.conn)
		}
		_ = f.server.http.Serve(one) // until it asks for a second
		if !one.accepted {
			conn.Close()
		}
	})
}

// connContext is for http.Server: it remembers the connection, and what was chosen for it.
func (s *Server) connContext(ctx context.Context, c net.Conn) context.Context {
	ctx = ConnContext(ctx, c)
	if s.fast != nil {
		if made, ok := s.fast.choices.Load(c); ok {
			ctx = context.WithValue(ctx, choiceKey{}, made)
		}
	}
	return ctx
}

func (f *fast) forget(c *fastConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// open counts the connections.
func (f *fast) open() int {
	if f == nil {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

// inFlight reports whether a connection has a request in flight, or may have one soon. It
// closes those that have none.
func (f *fast) inFlight() bool {
	if f == nil {
		return false
	}
	var idle []*fastConn
	busy := false
	f.mu.Lock()
	for c := range f.conns {
		switch {
		case c.state.Load() == fastNew && time.Since(c.begun) < silence:
			busy = true
		case c.state.Load() == fastIdle && !isQuiet(c.conn):
			busy = true // its goroutine is about to see that
		case c.state.CompareAndSwap(fastIdle, fastOver), c.state.CompareAndSwap(fastNew, fastOver):
			idle = append(idle, c)
		default:
			busy = busy || c.state.Load() == fastActive
		}
	}
	f.mu.Unlock()
	for _, c := range idle {
		c.conn.Close()
	}
	return busy
}

// end closes all connections and waits for their goroutines. None may begin any more.
func (f *fast) end() {
	if f == nil {
		return
	}
	f.cancel()
	f.mu.Lock()
	for c := range f.conns {
		c.conn.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
}
