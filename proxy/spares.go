package proxy

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"tenement.dev/internal/socket"
	"tenement.dev/internal/tenant"
)

// appConn is a connection to an app.
type appConn struct {
	net.Conn
	raw      syscall.RawConn
	since    time.Time // when it was used last
	exchange socket.Exchange
}

// dialApp makes a connection to the app, which is awake.
func dialApp(ctx context.Context, endpoint tenant.Endpoint) (*appConn, error) {
	conn, err := endpoint.Dial(ctx)
	if err != nil {
		return nil, err
	}
	sock, ok := conn.(syscall.Conn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("connect: %T is no socket", conn)
	}
	c := &appConn{Conn: conn}
	if c.raw, err = sock.SyscallConn(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	c.exchange.Init(c.raw)
	return c, nil
}

// spares are connections to one app that no request uses, the last used one at the end.
type spares struct {
	mu    sync.Mutex // guards what follows
	conns []*appConn
	ended bool
}

// take gives the connection that was used last, nil where there is none. It has to be quiet:
// what an app has sent behind an answer, such as the body of one to HEAD, or what is longer
// than it said, would be the answer to another client's request.
func (s *spares) take() *appConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.conns)
	if n == 0 {
		return nil
	}
	last := s.conns[n-1]
	s.conns[n-1] = nil
	s.conns = s.conns[:n-1]
	return last
}

// put keeps a connection for later.
func (s *spares) put(conn *appConn, now time.Time) {
	conn.since = now
	s.mu.Lock()
	keep := !s.ended && len(s.conns) < maxIdleConns
	if keep {
		s.conns = append(s.conns, conn)
	}
	s.mu.Unlock()
	if !keep {
		conn.Close()
	}
}

// closeUnused closes the connections that were last used before the given moment.
func (s *spares) closeUnused(before time.Time) {
	s.mu.Lock()
	n := 0
	for n < len(s.conns) && s.conns[n].since.Before(before) {
		n++
	}
	old := s.conns[:n]
	s.conns = append([]*appConn(nil), s.conns[n:]...)
	s.mu.Unlock()
	closeConns(old)
}

// closeAll closes all connections.
func (s *spares) closeAll() {
	s.mu.Lock()
	all := s.conns
	s.conns = nil
	s.mu.Unlock()
	closeConns(all)
}

// end closes all connections, also those that come later.
func (s *spares) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.closeAll()
}

func closeConns(conns []*appConn) {
	for _, c := range conns {
		c.Close()
	}
}
