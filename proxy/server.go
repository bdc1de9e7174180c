package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"tenement.dev/internal/socket"
)

const (
	// readHeaderTimeout bounds how long a client may take to send a request's head.
	readHeaderTimeout = 15 * time.Second
	// idleTimeout is how long a client's unused connection is kept.
	idleTimeout = 2 * time.Minute
	// maxHeaderBytes bounds a request's head; longer ones are answered with 431.
	maxHeaderBytes = 64 << 10
	// silence is how long a new connection may say nothing before a drain no longer
	// waits for it.
	silence = time.Second
	// drainTick is how often a drain looks whether requests are still in flight.
	drainTick = 5 * time.Millisecond
	// farewell is how long a drain goes on with unused connections: who uses them often, as
	// proxies do, is told with an answer not to send anything more. To close a connection as
	// its next request comes would lose that.
	farewell = 100 * time.Millisecond
)

// Server is the server for clients. Bodies may take as long as they like in both
// directions, as long as they move.
type Server struct {
	proxy       *Proxy
	http        *http.Server
	bodySilence time.Duration
	// leftoverTime is how long the rest of a body is waited for that nobody wanted.
	leftoverTime time.Duration
	draining     atomic.Bool
	handshakes   handshakes
	fast         *fast // nil where there is none

	mu        sync.Mutex
	listeners map[net.Listener]chan struct{} // closed when its Serve has returned
	conns     map[net.Conn]connState         // those that net/http has
}

// connState is what a connection is at, and since when.
type connState struct {
	state http.ConnState
	since time.Time
}

// NewServer makes the server for handler: p, or what stands before it.
func NewServer(handler http.Handler, p *Proxy, log *slog.Logger) *Server {
	s := &Server{
		proxy: p, bodySilence: bodySilence, leftoverTime: leftoverTime,
		listeners: map[net.Listener]chan struct{}{}, conns: map[net.Conn]connState{},
	}
	s.handshakes.ctx, s.handshakes.cancel = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           s.bounded(handler),
		ConnContext:       s.connContext,
		ConnState:         s.follow,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// What clients must expect who have not been told otherwise (RFC 9113, section 6.5.2).
		HTTP2: &http.HTTP2Config{MaxReadFrameSize: 16 << 10},
		// OPTIONS * is for the instance that the host names.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve accepts connections from l until Drain or Close; then the error is nil.
func (s *Server) Serve(l net.Listener) error {
	done := make(chan struct{})
	s.mu.Lock()
	s.listeners[l] = done
	s.mu.Unlock()
	defer close(done)
	err := s.http.Serve(&clients{Listener: socket.Listener{Listener: l}, server: s})
	if s.draining.Load() || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve on %s: %w", l.Addr(), err)
}

// follow keeps track of the connections.
func (s *Server) follow(c net.Conn, state http.ConnState) {
	if c, ok := c.(interface{ StepAside() }); ok && state == http.StateHijacked {
		c.StepAside()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(s.conns, c)
	} else {
		s.conns[c] = connState{state, time.Now()}
	}
}

// Drain takes no more connections, ends streams, tells clients that their connection ends, and
// returns when the requests in flight have been answered, or with ctx's error.
// http.Server.Shutdown is of no use here: it drops requests that it has read but not begun to
// handle, and those that come just as it closes what it takes for unused.
func (s *Server) Drain(ctx context.Context) error {
	s.draining.Store(true)
	s.closeListeners() // what they have accepted is followed now
	s.proxy.leave()
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	last := time.Now().Add(farewell)
	for kept := true; kept || s.inFlight(); {
		if kept && (s.open() == 0 || time.Now().After(last)) {
			kept = false
			s.http.SetKeepAlivesEnabled(false) // also closes the unused ones
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("drain: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
	return nil
}

// open counts the connections.
func (s *Server) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) + s.fast.open()
}

func (s *Server) inFlight() bool {
	if s.fast.inFlight() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if c.state == http.StateActive || c.state == http.StateNew && time.Since(c.since) < silence {
			return true
		}
	}
	return s.proxy.upgrades.Load() > 0
}

// closeListeners also waits until nothing is accepted any more.
func (s *Server) closeListeners() {
	s.mu.Lock()
	listeners := maps.Clone(s.listeners)
	s.mu.Unlock()
	for l, done := range listeners {
		l.Close()
		<-done
	}
}

// Close closes every connection.
func (s *Server) Close() error {
	err := s.http.Close()
	s.closeListeners()
	s.handshakes.end()
	s.fast.end()
	return err
}
