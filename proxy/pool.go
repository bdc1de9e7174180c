package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tenement.dev/internal/tenant"
)

const (
	// idleConnTimeout is how long an unused connection to an app is kept.
	idleConnTimeout = 60 * time.Second
	// freshTime is for how long an unused connection is good for a request that is made but
	// once. Apps close those that they have not used for some seconds, gunicorn after 2, Node and
	// uvicorn after 5, and one that is busy then resets what has come meanwhile.
	freshTime = time.Second
	// poolTimeout is how long the pool of an instance without requests is kept.
	poolTimeout = 2 * idleConnTimeout
	// maxIdleConns is how many unused connections are kept per instance.
	maxIdleConns = 256
	// maxResponseHeader bounds the head of an app's answer, in bytes.
	maxResponseHeader = 64 << 10
	// maxRepeats is how often a request is made again whose connection was lost.
	maxRepeats = 2
	// stallTimeout is how long a new connection may go without an answer before the
	// unused ones are closed: an app that serves one connection at a time may be
	// waiting for the next request on one of them.
	stallTimeout = 100 * time.Millisecond
)

// pools keeps connections to apps, a pool for each instance. It implements
// http.RoundTripper for requests that carry a visit.
type pools struct {
	mu    sync.Mutex
	byID  map[tenant.ID]*pool
	sweep time.Duration
	fresh time.Duration // freshTime
}

// pool is the connections to one instance in one of its lives.
type pool struct {
	key       poolKey
	transport *http.Transport
	used      time.Time
	// complained: its instance has been told of for its bad headers.
	complained bool
	// spare are the unused connections of the fast path.
	spare spares
}

// poolKey is what a pool was made for; with another key it is replaced.
type poolKey struct {
	generation     uint64
	requestTimeout time.Duration
	keepAlive      bool
}

func newPools() *pools {
	return &pools{byID: map[tenant.ID]*pool{}, sweep: poolTimeout / 2, fresh: freshTime}
}

// RoundTrip implements http.RoundTripper.
func (p *pools) RoundTrip(r *http.Request) (*http.Response, error) {
	v := visitOf(r.Context())
	if v == nil {
		return nil, errors.New("request without an instance")
	}
	r = r.WithContext(tellConns(r.Context()))
	transport, generation := p.get(v).transport, v.endpoint.Generation()
	first := transport.RoundTrip
	if v.first != nil {
		first, generation = v.first, v.generation
	}
	resp, err := first(r)
	again := r
	for repeats := range maxRepeats {
		if err == nil || !repeatable(r, err) {
			break
		}
		if repeats > 0 && v.endpoint.Generation() != generation {
			break // a third process shall not die of the same request
		}
		// The app closed its end instead of answering, as apps do that take one
		// connection at a time with whoever waits behind it. One that has taken all of
		// the request, as the lack of a reset shows (tcp(7)), may have ended by it: then
		// the next process shall not, however later attempts at this one end. Its socket
		// can outlive its connections by a moment, and resets who is caught in there.
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			again = r.WithContext(tenant.WithSameProcess(r.Context()))
		}
		second, serr := transport.RoundTrip(again)
		if errors.Is(serr, tenant.ErrProcessEnded) {
			break
		}
		resp, err = second, serr
	}
	return resp, err
}

// tellConns has connections told of requests that are about to be written.
func tellConns(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		if conn, ok := got.Conn.(*stallConn); ok {
			conn.next()
		}
	}})
}

// repeatable reports whether a request may be made again: it changes nothing, has no
// body, and its connection was lost (RFC 9110, section 9.2.2).
func repeatable(r *http.Request, err error) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
	default:
		return false
	}
	lost := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	return lost && r.Body == nil && r.Context().Err() == nil
}

// rest closes the connections to an instance that nobody uses: it is about to doze or
// to stop, and may wait for those who hold one.
func (p *pools) rest(id tenant.ID) {
	p.mu.Lock()
	pool, ok := p.byID[id]
	p.mu.Unlock()
	if ok {
		pool.closeIdle()
	}
}

// get gives the instance's pool. One of an earlier life is replaced: an app that was
// frozen may have given up its connections the moment it thaws.
func (p *pools) get(v *visit) *pool {
	key := poolKey{v.endpoint.Generation(), v.endpoint.RequestTimeout(), v.endpoint.KeepAlive()}
	p.mu.Lock()
	defer p.mu.Unlock()
	old, ok := p.byID[v.id]
	if ok && old.key == key {
		old.used = time.Now()
		return old
	}
	if ok {
		defer old.end()
	}
	fresh := &pool{key: key, used: time.Now()}
	fresh.transport = newTransport(key, p.fresh, fresh.closeIdle)
	p.byID[v.id] = fresh
	return fresh
}

// complain reports whether what the instance does wrong is worth a line in the log:
// once in each of its lives.
func (p *pools) complain(id tenant.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	pool, ok := p.byID[id]
	if !ok || pool.complained {
		return false
	}
	pool.complained = true
	return true
}

// used notes that a request has ended, and its connection may have come back.
func (p *pools) used(id tenant.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pool, ok := p.byID[id]; ok {
		pool.used = time.Now()
	}
}

// newTransport makes one that keeps unused connections for as long as they are fresh, and has
// them closed when a new one stalls.
func newTransport(key poolKey, fresh time.Duration, closeIdle func()) *http.Transport {
	t := &http.Transport{
		DisableCompression:     true, // bodies pass as they are
		DisableKeepAlives:      !key.keepAlive,
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    maxIdleConns,
		IdleConnTimeout:        fresh,
		ResponseHeaderTimeout:  key.requestTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxResponseHeader,
	}
	t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		v := visitOf(ctx)
		if v == nil {
			return nil, errors.New("connection without an instance")
		}
		conn, err := v.endpoint.Dial(ctx)
		if err != nil {
			return nil, err
		}
		return watchStall(conn, closeIdle), nil
	}
	return t
}

// closeIdle closes the connections that no request uses.
func (p *pool) closeIdle() {
	p.transport.CloseIdleConnections()
	p.spare.closeAll()
}

// end is closeIdle, and has the connections closed that come back later.
func (p *pool) end() {
	p.spare.end()
	p.transport.CloseIdleConnections()
}

// run closes pools that are not used any more.
func (p *pools) run(ctx context.Context) error {
	ticker := time.NewTicker(p.sweep)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			p.close(time.Now())
			return nil
		case now := <-ticker.C:
			p.close(now.Add(-poolTimeout))
		}
	}
}

// close drops the pools that were last used before the given moment.
func (p *pools) close(before time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, pool := range p.byID {
		if pool.used.Before(before) {
			pool.end()
			delete(p.byID, id)
		} else {
			pool.spare.closeUnused(time.Now().Add(-idleConnTimeout))
		}
	}
}

// stallConn is a connection to an app. It calls a function again and again until the first
// answer arrives, and tells apart whether an app that has closed its end may have read
// anything. Where it has closed it in the middle of a request, what it has said by then is
// still read: net/http would not wait for that when a write has failed.
type stallConn struct {
	net.Conn
	mu    sync.Mutex
	timer *time.Timer // nil when answered or closed

	sent     atomic.Int64  // the bytes that are written, or tried
	refused  atomic.Bool   // the first write has failed; set before written is closed
	written  chan struct{} // closed when the first write has returned
	announce sync.Once

	begun  atomic.Bool // some of the present request has been written
	broken atomic.Bool // the app takes no more
}

func watchStall(conn net.Conn, f func()) net.Conn {
	c := &stallConn{Conn: conn, written: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(stallTimeout, func() {
		f()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.timer != nil {
			c.timer.Reset(stallTimeout)
		}
	})
	return c
}

func (c *stallConn) settled() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

func (c *stallConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.settled()
	}
	if errors.Is(err, io.EOF) && c.unread() {
		// The kernel tells of a reset once, and that may have been the writer.
		err = &net.OpError{Op: "read", Net: "app", Err: syscall.ECONNRESET}
	}
	return n, err
}

// next is before a request is written.
func (c *stallConn) next() { c.begun.Store(false) }

func (c *stallConn) Write(p []byte) (int, error) {
	if c.broken.Load() {
		if c.begun.Load() {
			return len(p), nil
		}
		return 0, &net.OpError{Op: "write", Net: "app", Err: syscall.EPIPE}
	}
	c.sent.Add(int64(len(p)))
	n, err := c.Conn.Write(p)
	c.announce.Do(func() {
		c.refused.Store(err != nil)
		close(c.written)
	})
	switch {
	case n > 0 && err == nil:
		c.begun.Store(true)
	case c.begun.Load() && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)):
		c.broken.Store(true)
		return len(p), nil
	}
	return n, err
}

// unread reports whether the app, which has closed its end, cannot have read anything: the
// first write has failed, or was never tried, or came too late.
func (c *stallConn) unread() bool {
	if c.sent.Load() == 0 {
		return true
	}
	timeout := time.NewTimer(stallTimeout)
	defer timeout.Stop()
	select {
	case <-c.written:
		return c.refused.Load() || c.unseen()
	case <-timeout.C:
		return false
	}
}

// unseen is for an app that has closed its end before anything could arrive there.
func (c *stallConn) unseen() bool {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	return err == nil && unseen(raw, int(c.sent.Load()))
}

func (c *stallConn) Close() error {
	c.settled()
	return c.Conn.Close()
}

// buffers lends the buffers that bodies are copied with.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func newBuffers() *buffers {
	return &buffers{pool: sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}}
}

func (b *buffers) Get() []byte {
	buf, ok := b.pool.Get().(*[]byte)
	if !ok {
		return make([]byte, bufferSize)
	}
	return *buf
}

func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }
