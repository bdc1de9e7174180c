package proxy

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"tenement.dev/internal/tenant"
)

// partTime is how long an app may take to end a WebSocket whose instance is about to be
// stopped, and then the client to answer the close frame.
const partTime = 500 * time.Millisecond

// errEnding ends the copying of an upgraded connection.
var errEnding = errors.New("the instance is being stopped")

// goingAway is the payload of a close frame with status 1001 (RFC 6455, section 7.4.1).
var goingAway = []byte{0x03, 0xe9}

// watch calls a function when a stream is to end: its instance is about to be stopped,
// or the proxy.
type watch struct {
	ending atomic.Bool
	over   chan struct{}
	once   sync.Once
}

// watchEnd has f called, with the watch, whose caller may not have it yet.
func (p *Proxy) watchEnd(ctx context.Context, endpoint tenant.Endpoint, f func(*watch)) *watch {
	w := &watch{over: make(chan struct{})}
	go func() {
		select {
		case <-endpoint.Ending():
		case <-p.leaving:
		case <-w.over:
			return
		case <-ctx.Done():
			return
		}
		w.ending.Store(true)
		f(w)
	}()
	return w
}

// begun reports whether the stream is to end.
func (w *watch) begun() bool { return w.ending.Load() }

// end ends the watch; true for the first call.
func (w *watch) end() (first bool) {
	w.once.Do(func() {
		close(w.over)
		first = true
	})
	return first
}

// upgraded is a connection after 101 Switching Protocols, from the app's side. One that
// speaks WebSocket ends with a close frame of status 1001 in both directions.
type upgraded struct {
	io.ReadWriteCloser
	proxy *Proxy
	ctx   context.Context
	touch func(context.Context) error
	meter *tenant.Meter
	watch *watch

	// fromApp belongs to who reads. It and toApp are nil for other protocols than
	// WebSocket, where every byte counts.
	fromApp  *frames
	answered bool // the app has answered the close frame that it was sent
	parted   bool // the client has been sent the close frame

	told atomic.Bool // the app is being sent the close frame

	mu      sync.Mutex // guards what follows, held over writes to the app
	toApp   *frames
	replied chan struct{} // closed when the client has sent its close frame
}

func (p *Proxy) newUpgraded(ctx context.Context, body io.ReadWriteCloser, v *visit, webSocket bool) *upgraded {
	u := &upgraded{ReadWriteCloser: body, proxy: p, ctx: ctx, touch: v.endpoint.Stream(), meter: v.meter, replied: make(chan struct{})}
	if webSocket {
		u.fromApp, u.toApp = &frames{}, &frames{}
	}
	p.upgrades.Add(1)
	u.watch = p.watchEnd(ctx, v.endpoint, u.part)
	return u
}

// Close implements io.Closer.
func (u *upgraded) Close() error {
	if u.watch.end() {
		u.proxy.upgrades.Add(-1)
	}
	return u.ReadWriteCloser.Close()
}

// part tells the app that its client goes away, and leaves it some time to say the last
// word. An app that takes nothing just now is not told.
func (u *upgraded) part(w *watch) {
	told := false
	if u.toApp != nil && u.mu.TryLock() {
		if told = u.toApp.between() && !u.toApp.closing; told {
			// Of a client, so it has a masking key, which may be 0 (section 5.3).
			frame := append([]byte{0x88, 0x80 | byte(len(goingAway)), 0, 0, 0, 0}, goingAway...)
			u.told.Store(true) // before: the answer may be quick
			_, err := u.ReadWriteCloser.Write(frame)
			told = err == nil
		}
		u.mu.Unlock()
	}
	if told {
		timer := time.NewTimer(partTime)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-w.over:
		}
	}
	u.ReadWriteCloser.Close() // whoever reads goes on with the farewell
}

// Read gives what the app sends.
func (u *upgraded) Read(p []byte) (int, error) {
	if u.parted || u.answered {
		return u.farewell(p)
	}
	n, err := u.ReadWriteCloser.Read(p)
	u.meter.Sent(n)
	if n > 0 && (u.fromApp == nil || u.fromApp.data(p[:n])) {
		_ = u.touch(u.ctx) // it sends, so it is awake
	}
	if n > 0 && u.fromApp != nil && u.fromApp.closeAt >= 0 && u.told.Load() {
		// The app's answer to our close frame. Many say 1000 there, "normal closure", after which clients do not come
		// back: the client is told why it ends.
		n = u.fromApp.closeAt
		u.fromApp, u.answered = &frames{}, true
		if n > 0 {
			return n, nil
		}
		return u.farewell(p)
	}
	if err == nil || !u.watch.begun() {
		return n, err
	}
	if n > 0 {
		return n, nil
	}
	return u.farewell(p)
}

// farewell gives the close frame for the client, unless the app has sent one, and then
// the end when the client has answered.
func (u *upgraded) farewell(p []byte) (int, error) {
	frame := append([]byte{0x88, byte(len(goingAway))}, goingAway...)
	switch {
	case u.fromApp == nil || !u.fromApp.between() || len(p) < len(frame):
		return 0, errEnding
	case !u.parted && !u.fromApp.closing:
		u.parted = true
		return copy(p, frame), nil
	}
	timer := time.NewTimer(partTime)
	defer timer.Stop()
	select {
	case <-u.replied:
	case <-timer.C:
	case <-u.ctx.Done():
	}
	return 0, errEnding
}

// Write passes on what the client sends; a dozing app is woken first. Once the stream
// ends, all that counts is the client's close frame.
func (u *upgraded) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	data := true
	if u.toApp != nil {
		closing := u.toApp.closing
		data = u.toApp.data(p)
		if u.toApp.closing && !closing {
			close(u.replied)
		}
	}
	if u.watch.begun() {
		return len(p), nil
	}
	if data {
		if err := u.touch(u.ctx); err != nil {
			return 0, err
		}
	}
	n, err := u.ReadWriteCloser.Write(p)
	u.meter.Received(n)
	return n, err
}
