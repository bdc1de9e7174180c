package proxy

import (
	"errors"
	"os"
	"sync/atomic"
	"time"
)

// clientWatch notices that a client goes away while the app is waited for: it reads what
// comes from the client, which may be the next request.
type clientWatch struct {
	done chan struct{} // nil where nobody watches
	gone atomic.Bool
	more int // how much was read
}

// startWatch implements client. Where it has sent more
// than there is room for, it is not watched.
func (c *fastConn) startWatch(gone func()) {
	c.stopWatch()
	w := &c.watch
	if w.gone.Load() {
		gone()
		return
	}
	if c.end == len(c.in) {
		return
	}
	w.done, w.more = make(chan struct{}), 0
	free := c.in[c.end:]
	c.setDeadline(time.Time{})
	go func(done chan struct{}) {
		defer close(done)
		n, err := c.conn.Read(free)
		w.more = n
		if n == 0 && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			w.gone.Store(true)
			gone()
		}
	}(w.done)
}

// hasLeft implements client.
func (c *fastConn) hasLeft() bool { return c.watch.gone.Load() }

// stopWatch takes over what was read.
func (c *fastConn) stopWatch() {
	w := &c.watch
	if w.done == nil {
		return
	}
	_ = c.conn.SetReadDeadline(time.Unix(1, 0))
	<-w.done
	w.done = nil
	c.end += w.more
	c.setDeadline(time.Time{})
}
