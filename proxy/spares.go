package proxy

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"tenement.dev/internal/tenant"
)

// fresh is how long an unused connection is believed to be open where the request could be
// made again if it is not.
const fresh = time.Second

// appConn is a connection to an app.
type appConn struct {
	net.Conn
	raw   syscall.RawConn
	since time.Time // when it was used last
	// peek sets quiet.
	peek  func(fd uintptr)
	quiet bool
}

// dialApp makes a connection to the app, which is awake.
func dialApp(ctx context.Context, endpoint tenant.Endpoint) (*appConn, error) {
	conn, err := endpoint.Dial(ctx)
	if err != nil {
		return nil, err
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("connect: %T is no socket", conn)
	}
	c := &appConn{Conn: conn}
	if c.raw, err = socket.SyscallConn(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	c.peek = func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		c.quiet = err == syscall.EAGAIN //nolint:errorlint // as the kernel says it
	}
	return c, nil
}

// isQuiet reports whether the app has neither closed the connection nor said anything on it
// unasked.
func (c *appConn) isQuiet() bool {
	c.quiet = false
	return c.raw.Control(c.peek) == nil && c.quiet
}

// spares are connections to one app that no request uses, the last used one at the end.
type spares struct {
	mu    sync.Mutex // guards what follows
	conns []*appConn
	ended bool
}

// take gives the connection that was used last and lives, nil where there is none. With
// care it is looked at in any case.
func (s *spares) take(now time.Time, care bool) *appConn {
	for {
		s.mu.Lock()
		n := len(s.conns)
		if n == 0 {
			s.mu.Unlock()
			return nil
		}
		last := s.conns[n-1]
		s.conns[n-1] = nil
		s.conns = s.conns[:n-1]
		s.mu.Unlock()
		if !care && now.Sub(last.since) < fresh || last.isQuiet() {
			return last
		}
		last.Close()
	}
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
