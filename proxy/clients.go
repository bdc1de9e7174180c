package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"tenement.dev/proxy/framing"
)

// clients is a listener whose connections of HTTP/1 are read with care; see package framing.
type clients struct {
	net.Listener
	server *Server
}

// Accept implements net.Listener. Which protocol a connection of TLS is for shows with its
// handshake, which net/http would make too late: such a connection is served beside.
func (l *clients) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		secure, ok := conn.(*tls.Conn)
		switch {
		case ok:
		case l.server.fast.takes(conn):
			l.server.fast.begin(conn)
			continue
		default:
			return framing.NewConn(conn), nil
		}
		l.server.follow(secure, http.StateNew)
		l.server.handshakes.wg.Go(func() { l.server.shake(secure) })
	}
}

// handshakes are those that go on.
type handshakes struct {
	ctx    context.Context // ends them
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// end ends them. None may begin any more.
func (h *handshakes) end() {
	h.cancel()
	h.wg.Wait()
}

// shake makes the handshake of a connection and has it served. One that fails is told of by
// net/http, which finds it so.
func (s *Server) shake(conn *tls.Conn) {
	ctx, cancel := context.WithTimeout(s.handshakes.ctx, s.http.ReadHeaderTimeout)
	defer cancel()
	one := &single{conn: conn}
	if err := conn.HandshakeContext(ctx); err == nil {
		switch conn.ConnectionState().NegotiatedProtocol {
		case "", "http/1.1", "http/1.0":
			if s.fast.takes(conn) {
				s.fast.begin(conn)
				s.follow(conn, http.StateClosed) // it is followed there
				return
			}
			one.conn = framing.NewConn(conn)
		}
	}
	_ = s.http.Serve(one) // until it asks for a second
	if !one.accepted {
		conn.Close()
	}
	if !one.accepted || one.conn != net.Conn(conn) {
		s.follow(conn, http.StateClosed) // the server has its own now
	}
}

// single is a listener for one connection.
type single struct {
	conn     net.Conn
	accepted bool
}

// Accept implements net.Listener.
func (l *single) Accept() (net.Conn, error) {
	if l.accepted {
		return nil, io.EOF
	}
	l.accepted = true
	return l.conn, nil
}

// Close implements net.Listener; the connection has its own life.
func (l *single) Close() error { return nil }

// Addr implements net.Listener.
func (l *single) Addr() net.Addr { return l.conn.LocalAddr() }

// fromLoopback reports whether the client is on this machine, and not only a proxy
// before us.
func fromLoopback(r *http.Request) bool {
	if r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" {
		return false
	}
	addr, ok := clientAddr(r.Context())
	return ok && addr.IsLoopback()
}

// clientAddr is the address of who has made the connection.
func clientAddr(ctx context.Context) (addr netip.Addr, ok bool) {
	conn, ok := ctx.Value(clientKey{}).(net.Conn)
	if !ok {
		return netip.Addr{}, false
	}
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return tcp.AddrPort().Addr().Unmap(), true
}

type clientKey struct{}

// ConnContext is for http.Server: it remembers the connection. It asks nothing of it, as
// to tell its client's address one behind the PROXY protocol must be read from.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, clientKey{}, c)
}
