package proxy

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"tenement.dev/internal/tenant"
)

// lastWrite is how long an app that has answered may take to read the end of a body.
const lastWrite = 50 * time.Millisecond

var (
	errStopped = errors.New("the answer is through")
	errSilent  = errors.New("the client sends nothing")
)

// upload is the rest of a body that did not come with its head, on the fast path. A goroutine
// copies it to the app, which may answer meanwhile, and watches the client from there on.
// Where the answer begins before all has come, the client's connection ends behind it.
type upload struct {
	c    *fastConn
	body clientBody   // what is known of it; nobody reads it as such
	left atomic.Int64 // what the client has not sent yet, in bytes

	// What follows belongs to the goroutine of the connection.
	live   bool        // the other one has not been waited for
	early  bool        // the answer has begun before all had come
	unhook func() bool // undoes what ends the copying with the server

	over    chan struct{} // closed when no more is copied
	err     error         // why the app has not got all; set before
	refused bool          // err is of the app's connection; set before

	mu          sync.Mutex // guards what follows
	waited      bool       // for the answer's head: the end of the copying interrupts that
	interrupted bool       // it has
}

// newUpload is the rest of a body, so many bytes, that the present request of c has.
func newUpload(c *fastConn, meter *tenant.Meter, patience time.Duration, left int64) *upload {
	u := &upload{c: c, over: make(chan struct{})}
	b := &u.body
	b.silence, b.shared, b.meter, b.patience = c.server.bodySilence, true, meter, patience
	u.left.Store(left)
	return u
}

// uploading is the upload of the present request, or nil.
func (c *fastConn) uploading() *upload {
	if c.exchange == nil {
		return nil
	}
	return c.upload
}

// begin begins to copy to the app, which has got the head and what came with it; refused is
// why it has not.
func (u *upload) begin(conn *appConn, refused error) {
	c, w := u.c, &u.c.watch
	c.end, c.size = c.headSize, c.headSize // room for what comes behind the body
	u.waited, u.live, u.err, u.refused = true, true, refused, refused != nil
	u.unhook = context.AfterFunc(c.ctx, func() { conn.Close() })
	w.done, w.more, w.left = make(chan struct{}), 0, func() { conn.Close() }
	go u.run(conn, c.in[c.end:], w.done)
}

// run is the goroutine.
func (u *upload) run(conn *appConn, free []byte, done chan struct{}) {
	defer close(done)
	r := uploadReader{u: u}
	defer r.giveBack()
	w := uploadWriter{u: u, conn: conn, timeout: u.body.patience}
	for u.err == nil && u.left.Load() > 0 {
		p, err := r.next()
		if u.err = err; err == nil {
			u.refused, u.err = w.write(p)
		}
	}
	if u.err != nil && !u.refused {
		conn.Close() // or the app could wait for the rest
	} else {
		_ = conn.SetWriteDeadline(time.Time{})
	}
	if interrupted := u.end(conn); !u.refused && (u.err != nil || interrupted) {
		return
	}
	// The client may go away while its answer comes. It also may send all before it reads
	// anything, so what the app does not take is read here.
	for u.left.Load() > 0 {
		if _, err := r.next(); err != nil {
			return
		}
	}
	_ = u.c.conn.SetReadDeadline(time.Time{})
	u.c.look(free)
}

// end tells that no more is copied. It is true where the answer's head was waited for.
func (u *upload) end(conn *appConn) (interrupted bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.over)
	u.interrupted = u.waited
	if u.interrupted {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	}
	return u.interrupted
}

// unwait has the end of the copying interrupt nothing any more. Where it has done so, maybe
// as the answer's head came, its goroutine is waited for: it watches nobody.
func (u *upload) unwait() {
	if !u.goesOn() {
		return
	}
	u.mu.Lock()
	u.waited = false
	interrupted := u.interrupted
	u.mu.Unlock()
	if interrupted && !u.refused {
		u.live = false
		u.unhook()
		u.c.joinWatch()
	}
}

// finish ends the copying, and reports whether the app has got all of the request. If not,
// its connection is closed.
func (u *upload) finish(conn *appConn) (all bool) {
	if u == nil {
		return true
	}
	if u.live {
		u.c.watch.stop.Store(true)
		if u.left.Load() > 0 || !u.isOverWithin(lastWrite) {
			conn.Close()
		}
		u.live = false
		u.unhook()
		u.c.stopWatch()
	}
	return u.left.Load() == 0 && u.err == nil
}

// answered notes that the answer begins, and reports whether that is before all has come.
func (u *upload) answered() (early bool) {
	if u == nil {
		return false
	}
	u.body.answering()
	u.early = u.early || u.left.Load() > 0
	return u.early
}

// wasEarly reports whether the answer has begun before all had come; nil is no upload.
func (u *upload) wasEarly() bool { return u != nil && u.early }

// goesOn reports whether the goroutine has not been waited for.
func (u *upload) goesOn() bool { return u != nil && u.live }

// allCame reports whether the client has sent all, and nobody reads what comes from it.
func (u *upload) allCame() bool { return u == nil || !u.live && u.left.Load() == 0 }

// fault is why the client's part has failed, or nil. Nothing is copied any more.
func (u *upload) fault() error {
	if u == nil || u.refused {
		return nil
	}
	return u.err
}

// isOver reports whether no more is copied.
func (u *upload) isOver() bool {
	select {
	case <-u.over:
		return true
	default:
		return false
	}
}

func (u *upload) isOverWithin(d time.Duration) bool {
	if u.isOver() {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-u.over:
		return true
	case <-timer.C:
		return false
	}
}

// linger has a client that has its answer already send on for a while: were the connection
// closed at once, it could lose what it has not read (RFC 9112, section 9.6). There is no
// request in flight any more.
func (c *fastConn) linger() {
	if c.upload.allCame() || !c.answer.returned || !c.state.CompareAndSwap(fastActive, fastIdle) {
		return
	}
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	c.setDeadline(time.Now().Add(c.server.leftoverTime))
	for {
		if _, err := c.conn.Read(c.in); err != nil {
			return
		}
	}
}

// uploadWriter writes to the app, which has its time to go on reading before its answer has
// begun: nobody hears of a client that goes away meanwhile.
type uploadWriter struct {
	u        *upload
	conn     *appConn
	timeout  time.Duration // 0 for none
	deadline time.Time     // of writing
}

// write writes all of p, unless it fails; refused says that the app's connection has ended.
func (w *uploadWriter) write(p []byte) (refused bool, err error) {
	for len(p) > 0 && err == nil {
		w.bound()
		var n int
		n, err = w.conn.Write(p)
		if p = p[n:]; isTimeout(err) {
			if n == 0 && !w.u.body.begun.Load() {
				return false, err
			}
			err, w.deadline = nil, time.Time{}
		}
	}
	return err != nil, err
}

// bound sets the deadline of the next write, if there is a new one.
func (w *uploadWriter) bound() {
	now := time.Now()
	switch {
	case w.timeout == 0:
	case w.u.body.begun.Load():
		_ = w.conn.SetWriteDeadline(time.Time{})
		w.timeout = 0
	case w.deadline.Sub(now) < w.timeout-w.timeout/idleSlack:
		w.deadline = now.Add(w.timeout)
		_ = w.conn.SetWriteDeadline(w.deadline)
	}
}

// uploadReader reads what the client sends of an upload. Its buffer is large only while much
// comes at once: a slow client costs little memory.
type uploadReader struct {
	u        *upload
	full     bool       // the last read was
	pool     *sync.Pool // of the buffer
	lent     *[]byte    // the buffer, nil before the first read
	deadline time.Time
	// unbounded: there is no deadline any more.
	unbounded bool
}

// smallBuffers are lent while little comes; see largeBuffers.
var smallBuffers = sync.Pool{New: func() any { b := make([]byte, 8<<10); return &b }}

func (r *uploadReader) buffer() []byte {
	pool := &smallBuffers
	if r.full {
		pool = &largeBuffers
	}
	if r.lent == nil || r.pool != pool {
		r.giveBack()
		r.pool = pool
		r.lent, _ = pool.Get().(*[]byte)
	}
	return *r.lent
}

func (r *uploadReader) giveBack() {
	if r.lent != nil {
		r.pool.Put(r.lent)
	}
}

// next gives the next bytes of the body. A client that ends its side has gone away, as
// net/http has it. Its silence has a bound before the answer has begun.
func (r *uploadReader) next() ([]byte, error) {
	u, conn := r.u, r.u.c.conn
	stop, left := &u.c.watch.stop, u.left.Load()
	p := r.buffer()
	for {
		if r.bound(); stop.Load() {
			return nil, errStopped
		}
		n, err := conn.Read(p[:min(left, int64(len(p)))])
		switch {
		case n > 0:
			const much = 8 << 10
			r.full = n >= much
			u.left.Store(left - int64(n))
			u.body.meter.Received(n)
			return p[:n], nil
		case !isTimeout(err):
			u.c.watch.leave()
			return nil, err
		case stop.Load():
			return nil, errStopped
		case !u.body.begun.Load():
			u.body.silent.Store(!u.refused)
			return nil, errSilent
		}
	}
}

// bound sets the deadline of the next read, if there is a new one.
func (r *uploadReader) bound() {
	conn, silence := r.u.c.conn, r.u.body.silence
	if r.u.body.begun.Load() {
		if !r.unbounded {
			r.unbounded = true
			_ = conn.SetReadDeadline(time.Time{})
		}
		return
	}
	if now := time.Now(); r.deadline.Sub(now) < silence-silence/idleSlack {
		r.deadline = now.Add(silence)
		_ = conn.SetReadDeadline(r.deadline)
	}
}
