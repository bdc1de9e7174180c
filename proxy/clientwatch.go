package proxy

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// clientWatch notices that a client goes away while the app is waited for: it reads what
// comes from the client, which may be the next request. The rest of an upload it has read
// before.
type clientWatch struct {
	done chan struct{} // closed at its end; nil where nobody watches
	stop atomic.Bool   // it is to end
	gone atomic.Bool
	more int // how much was read behind the request

	mu   sync.Mutex // guards left
	left func()     // called when the client goes away
}

// startWatch implements client. Where it has sent more than there is room for, or less than
// all of its request, it is not watched.
func (c *fastConn) startWatch(gone func()) {
	c.stopWatch()
	w := &c.watch
	if w.then(gone) || c.end == len(c.in) || !c.uploading().allCame() {
		return
	}
	w.done, w.more = make(chan struct{}), 0
	c.setDeadline(time.Time{})
	go func(free []byte, done chan struct{}) {
		defer close(done)
		c.look(free)
	}(c.in[c.end:], w.done)
}

// then has gone called when the client goes away, or at once if it has; then it is true.
func (w *clientWatch) then(gone func()) bool {
	w.mu.Lock()
	w.left = gone
	left := w.gone.Load()
	w.mu.Unlock()
	if left {
		gone()
	}
	return left
}

// hasLeft implements client.
func (c *fastConn) hasLeft() bool { return c.watch.gone.Load() }

// look reads from the client, for whom nothing is to come, until there is something.
func (c *fastConn) look(free []byte) {
	w := &c.watch
	if w.stop.Load() {
		return
	}
	n, err := c.conn.Read(free)
	w.more = n
	if n == 0 && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		w.leave()
	}
}

// leave notes that the client has gone away.
func (w *clientWatch) leave() {
	w.mu.Lock()
	w.gone.Store(true)
	left := w.left
	w.mu.Unlock()
	left()
}

// stopWatch takes over what was read. An upload goes on.
func (c *fastConn) stopWatch() {
	if c.watch.done == nil || c.uploading().goesOn() {
		return
	}
	c.watch.stop.Store(true)
	_ = c.conn.SetReadDeadline(time.Unix(1, 0))
	c.joinWatch()
}

// joinWatch waits for the end of a watch that comes by itself.
func (c *fastConn) joinWatch() {
	w := &c.watch
	<-w.done
	w.done = nil
	w.stop.Store(false)
	c.end += w.more
	c.setDeadline(time.Time{})
}
