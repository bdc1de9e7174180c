package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"sync"
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
	// settling is how long one of HTTP/2 must have been unused before a drain closes it: net/http
	// calls it so before the end of an answer has left its buffer.
	settling = 100 * time.Millisecond
	// drainTick is how often a drain looks whether requests are still in flight.
	drainTick = 5 * time.Millisecond
	// farewell is how long a drain goes on as before, while who uses a connection again is
	// told with the answer not to send anything more. To close it as its next request comes
	// would lose that, and proxies in front notice an end only after some milliseconds.
	farewell = time.Second
)

// Server is the server for clients. Bodies may take as long as they like in both
// directions, as long as they move.
type Server struct {
	proxy       *Proxy
	http        *http.Server
	bodySilence time.Duration
	// leftoverTime is how long the rest of a body is waited for that nobody wanted.
	leftoverTime time.Duration
	farewell     time.Duration
	handshakes   handshakes
	fast         *fast // nil where there is none

	mu        sync.Mutex
	listeners map[net.Listener]chan struct{} // closed when its Serve has returned
	conns     map[net.Conn]*connState        // those that net/http has
}

// connState is what a connection is at, since when, how often it has been active, and how much
// had been received by then.
type connState struct {
	state    http.ConnState
	since    time.Time
	active   int
	received int64
}

// NewServer makes the server for handler: p, or what stands before it.
func NewServer(handler http.Handler, p *Proxy, log *slog.Logger) *Server {
	s := &Server{
		proxy: p, bodySilence: bodySilence, leftoverTime: leftoverTime, farewell: farewell,
		listeners: map[net.Listener]chan struct{}{}, conns: map[net.Conn]*connState{},
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
	if s.proxy.parting.Load() || errors.Is(err, http.ErrServerClosed) {
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
		at := connState{state: state, since: time.Now(), received: received(c)}
		if before := s.conns[c]; before != nil {
			at.active = before.active
		}
		switch {
		case state == http.StateActive:
			at.active++
		case state == http.StateIdle && at.active == 1 && isHTTP2(c):
			at.state = http.StateNew // as it is: net/http calls all active that have said hello
		}
		s.conns[c] = &at
	}
}

// Drain has each answer be the last one of its connection. After a while, unless all connections
// have ended by then, it takes no more of them, ends streams, closes those that are not used,
// and returns when the requests in flight have been answered, or with ctx's error.
// http.Server.Shutdown is of no use here: it drops requests that it has read but not begun to
// handle, and those that come just as it closes what it takes for unused.
func (s *Server) Drain(ctx context.Context) error {
	s.sayGoodbye()
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	last := time.Now().Add(s.farewell)
	for goesOn := true; goesOn || s.inFlight(); {
		if goesOn && (s.open() == 0 || time.Now().After(last)) {
			goesOn = false
			s.closeListeners() // what they have accepted is followed now
			s.proxy.leave()
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

// goodbye is a GOAWAY frame after which requests that are on their way are still answered
// (RFC 9113, section 6.8).
var goodbye = []byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0}

// goodbyeTime bounds the writing of those.
const goodbyeTime = 50 * time.Millisecond

// sayGoodbye has all answers end their connections from now on. Those of HTTP/2 that wait for a
// request are told at once: no request begins meanwhile, as that is followed, so that net/http writes
// nothing between.
func (s *Server) sayGoodbye() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proxy.parting.Store(true)
	deadline := time.Now().Add(goodbyeTime)
	var told sync.WaitGroup
	for c, at := range s.conns {
		if at.state == http.StateIdle && isHTTP2(c) && time.Since(at.since) >= settling {
			told.Go(func() {
				_ = c.SetWriteDeadline(deadline)
				if _, err := c.Write(goodbye); err == nil {
					_ = c.SetWriteDeadline(time.Time{})
				}
			})
		}
	}
	told.Wait()
}

// open counts the connections.
func (s *Server) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) + s.fast.open()
}

// inFlight reports whether a connection has a request in flight, or may have one soon. It
// closes those that have none.
func (s *Server) inFlight() bool {
	busy := s.fast.inFlight()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, at := range s.conns {
		switch {
		case at.state == http.StateActive || at.state == http.StateNew && time.Since(at.since) < silence:
			busy = true
		case at.state != http.StateIdle:
		case received(c) != at.received || !isQuiet(c):
			busy = true // net/http is about to see that
		case isHTTP2(c) && time.Since(at.since) < settling:
			busy = true
		default:
			c.Close()
			delete(s.conns, c)
		}
	}
	return busy || s.proxy.upgrades.Load() > 0
}

// isHTTP2 reports whether a connection that net/http has is one of HTTP/2. Those that speak
// HTTP/1 over TLS are in other wrapping, once their handshake is done.
func isHTTP2(c net.Conn) bool {
	_, ok := c.(*tls.Conn)
	return ok
}

// received is how much has been read from a connection of HTTP/1.
func received(c net.Conn) int64 {
	if c, ok := c.(interface{ Received() int64 }); ok {
		return c.Received()
	}
	return 0
}

// isQuiet reports whether nothing has come on a connection that has not been read.
func isQuiet(c net.Conn) bool {
	for {
		switch conn := c.(type) {
		case interface{ IsQuiet() bool }:
			return conn.IsQuiet()
		case interface{ NetConn() net.Conn }: // of TLS, or as package framing has it
			c = conn.NetConn()
		default:
			return true
		}
	}
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
