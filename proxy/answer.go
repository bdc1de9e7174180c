package proxy

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"tenement.dev/internal/tenant"
)

// Observer is told of each request when it is over; service is "" where the host name
// led to none that could be. It is called on the request's way and must not wait.
type Observer interface {
	Request(service string, s tenant.Served)
}

// answer is the way back of one request, and what is known of the request meanwhile. But
// for the log it is all that the proxy allocates for that.
type answer struct {
	http.ResponseWriter
	begun   time.Time
	service string
	status  int
	// returned: the handler did, and did not panic.
	returned bool
	visit    visit
	// bytes are those of the body; a copy of an upgraded connection may go on for a moment.
	bytes atomic.Int64
	// stall is how long the client may take nothing, and watched sees to that; nil before the
	// first write.
	stall   time.Duration
	watched *stallWatch
	// access is what is logged of the request, nil where nothing is.
	access *tenant.Access
	// parting: the client is to send nothing more on the connection; nil where that is told by others.
	parting *atomic.Bool
	// old: the client speaks HTTP/1.0, and would take a hint for the answer (RFC 9110, section 15.2).
	old bool
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if status < http.StatusOK && a.old {
		return
	}
	if a.status == 0 && status >= 200 { // others are followed by the answer
		a.status = status
		a.sayWhetherLast()
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
		a.sayWhetherLast()
	}
	if a.visit.release != nil { // else the app does not wait for it
		defer a.watchStall().end()
	}
	n, err := a.ResponseWriter.Write(p)
	a.visit.meter.Sent(n)
	a.bytes.Add(int64(n))
	return n, err
}

// sayWhetherLast has net/http end the connection behind the last answer before the daemon ends;
// over HTTP/2 by GOAWAY.
func (a *answer) sayWhetherLast() {
	if a.parting != nil && a.parting.Load() {
		a.Header().Set("Connection", "close")
	}
}

// FlushError is for http.ResponseController. The reverse proxy may call it beside who reads
// from the app, but never beside Write.
func (a *answer) FlushError() error {
	defer a.watchStall().end()
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// watchStall bounds a write, until end is called of what it gives.
func (a *answer) watchStall() *stallWatch {
	if a.watched == nil {
		a.watched = &stallWatch{}
	}
	a.watched.begin(a.ResponseWriter, a.stall)
	return a.watched
}

// Hijack implements http.Hijacker: what is written to the connection is counted.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(a.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	a.status = http.StatusSwitchingProtocols
	return &countedConn{conn, &a.bytes}, rw, nil
}

// countedConn counts what is written to a connection.
type countedConn struct {
	net.Conn
	bytes *atomic.Int64
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// CloseWrite is what httputil.ReverseProxy asks for when the app has said all.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// served tells of the request, which is over.
func (a *answer) served() tenant.Served {
	v := &a.visit
	s := tenant.Served{Status: a.status}
	if s.Status == 0 && a.returned {
		s.Status = http.StatusOK // as net/http has it
	}
	if v.answered.IsZero() {
		return s
	}
	s.Held, s.App = v.acquired.Sub(a.begun), v.answered.Sub(v.acquired)
	if !v.stream {
		s.Total = time.Since(a.begun)
	}
	return s
}
