package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"tenement.dev/internal/socket"
	"tenement.dev/internal/tenant"
	"tenement.dev/proxy/plain"
)

// firstLook is when an answer has taken long enough to look after the client, who may
// have gone.
const firstLook = 50 * time.Millisecond

// exchange is what a request takes that we make ourselves, lent for its time: it is sent to
// the app on a connection of the spare ones, or a new one, and the head of the answer is read.
type exchange struct {
	req plain.Request // on the fast path
	app plain.Answer
	out []byte // what is to be written
	buf []byte // what the app has sent: have bytes, head of them the head of its answer

	have, head int
	heard      bool             // first is what the app has said, and not read yet
	first      socket.Exchanged // what came of the request on a kept connection
	visit      *visit
	who        client
	upload     *upload // the rest of the request, nil where all is in out
	pool       *pool
	upstream   *appConn // nil while there is none, or no more
}

// client is who waits for the answer. The bytes that it is given are not its own.
type client interface {
	// startWatch has gone called when the client goes away, until stopWatch.
	startWatch(gone func())
	stopWatch()
	// hasLeft reports whether the client is gone, as far as it was watched.
	hasLeft() bool
	// send sends bytes of a body of a known length, last the last ones.
	send(p []byte, last bool) error
	// chunk takes bytes of a body in chunks, and flush sends what was taken.
	chunk(p []byte) error
	flush(ended bool) error
}

var exchanges = sync.Pool{New: func() any { return &exchange{out: make([]byte, 0, bufferSize), buf: make([]byte, bufferSize)} }}

func newExchange() *exchange {
	x, _ := exchanges.Get().(*exchange)
	return x
}

// end gives back what was lent.
func (x *exchange) end() {
	x.visit, x.who, x.pool, x.upstream, x.upload = nil, nil, nil, nil, nil
	exchanges.Put(x)
}

// ask sends the request in out, with which the visit is counted in, to the app. It reports
// whether the head of the answer has been read. Else the visit's first attempt is what the
// reverse proxy is to go on with, and hangUp is to be called behind it.
func (x *exchange) ask(ctx context.Context, p *pools, v *visit, who client, head, repeat bool) (taken bool) {
	x.visit, x.who, x.pool = v, who, p.get(v)
	v.generation = x.pool.key.generation
	sent, werr := x.sendKept(p.fresh, repeat)
	reused := x.upstream != nil
	if !reused {
		if !x.dial(ctx) {
			return false
		}
		sent, werr = x.upstream.Write(x.out)
	}
	if x.upload != nil {
		if reused && sent == 0 && werr != nil { // given up, as below
			x.upstream.Close()
			if reused = false; !x.dial(ctx) {
				return false
			}
			_, werr = x.upstream.Write(x.out)
		}
		x.upload.begin(x.upstream, werr)
	}
	conn := x.upstream
	verdict, err := x.readHead(head, reused)
	switch {
	case err == nil && verdict == plain.Taken:
		return true
	case err == nil:
		v.first = x.asRead() //nolint:bodyclose // the reverse proxy closes it
		return false
	}
	unread := x.upload == nil && x.have == 0 && errors.Is(err, io.EOF) && (werr != nil || unseen(conn.raw, len(x.out)))
	x.hangUp()
	switch {
	case x.upload.fault() != nil:
		err = x.upload.fault()
	case x.have > 0 && errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	case x.have == 0 && reused && (sent == 0 && werr != nil && !isTimeout(err) || repeat && unread):
		// The app has given up the connection, as it may, before it knew of the request.
		v.first = nil
		return false
	case unread:
		err = syscall.ECONNRESET // it cannot have read anything
	}
	v.first = failed(err) //nolint:bodyclose // the reverse proxy closes it
	return false
}

// sendKept sends the request on a connection that is kept, lives and is quiet, and is fresh if
// the request is not to be made again; it may have heard the beginning of the answer. Where there
// is none upstream is nil.
func (x *exchange) sendKept(fresh time.Duration, repeat bool) (sent int, err error) {
	for {
		x.heard = false
		x.upstream = x.pool.spare.take()
		if x.upstream == nil {
			return 0, nil
		}
		if !repeat && x.visit.acquired.Sub(x.upstream.since) > fresh {
			x.upstream.Close() // all others are older
			x.upstream = nil
			return 0, nil
		}
		if x.upload == nil {
			look, _ := x.patience(x.visit.acquired, false, true)
			_ = x.upstream.SetReadDeadline(look)
			if x.first = x.upstream.exchange.Do(x.out, x.buf); x.first.Quiet {
				if sent = x.first.Sent; sent < len(x.out) {
					return x.sendRest(sent)
				}
				x.heard = true
				return sent, nil
			}
		}
		if x.upstream.exchange.IsQuiet() { // with an upload, or so late that the app is to be looked after
			return x.sendRest(0)
		}
		x.upstream.Close()
	}
}

func (x *exchange) sendRest(from int) (sent int, err error) {
	sent, err = x.upstream.Write(x.out[from:])
	return from + sent, err
}

// read reads what the app says, after what was heard already.
func (x *exchange) read() (int, error) {
	if !x.heard {
		return x.upstream.Read(x.buf[x.have:])
	}
	x.heard = false
	switch first := &x.first; {
	case first.Err != nil:
		return 0, first.Err
	case first.Failed != 0:
		return 0, os.NewSyscallError("recvfrom", first.Failed)
	case first.Received == 0:
		return 0, io.EOF
	default:
		return first.Received, nil
	}
}

// asRead is a first attempt whose answer is what has been read, and what comes.
func (x *exchange) asRead() func(*http.Request) (*http.Response, error) {
	return resume(x.pool.key, x.upstream.Conn, x.buf[:x.have], x.upload) //nolint:bodyclose // the reverse proxy closes it
}

// hasAnswered notes that the head of the answer is there, and does what it asks for.
func (x *exchange) hasAnswered(p *Proxy) {
	x.visit.answered = time.Now()
	p.answered(x.visit.id, x.app.Status)
	if x.app.KeepAwake != nil {
		p.keepAwakeFor(x.visit, map[string][]string{tenant.KeepAwakeHeader: {string(x.app.KeepAwake)}})
	}
}

// dial makes a connection to the app. If it cannot, that is what the first attempt has come to.
func (x *exchange) dial(ctx context.Context) bool {
	conn, err := dialApp(ctx, x.visit.endpoint)
	if err != nil {
		x.upstream = nil
		x.visit.first = failed(err) //nolint:bodyclose // the reverse proxy closes it
		return false
	}
	x.upstream = conn
	return true
}

// failed is a first attempt that has come to an error.
func failed(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// isSafe reports whether a request may be made again; see repeatable.
func isSafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return false
}

// readHead reads the answer's head into the buffer.
func (x *exchange) readHead(isHead, reused bool) (v plain.Verdict, err error) {
	x.have, x.head = 0, 0
	conn := x.upstream
	uploading := x.upload.goesOn() // and ends the waiting when it is over
	defer x.upload.unwait()
	sent := x.visit.acquired
	if !reused || x.upload != nil {
		sent = time.Now() // making a connection may have taken its time
	}
	deadline, limit := x.patience(sent, uploading, reused)
	for watched := false; ; {
		if !x.heard {
			_ = conn.SetReadDeadline(deadline)
		}
		if uploading && x.upload.isOver() {
			x.upload.unwait()
			uploading = false
			deadline, limit = x.patience(time.Now(), false, reused)
			continue
		}
		var n int
		n, err = x.read()
		x.have += n
		if n > 0 {
			if x.head, v = x.app.Read(x.buf[:x.have], isHead); v == plain.Taken {
				return v, nil
			}
			if v == plain.Odd || x.have == len(x.buf) {
				return plain.Odd, nil
			}
			continue
		}
		now := time.Now()
		switch {
		case !isTimeout(err) || !limit.IsZero() && !now.Before(limit):
			return plain.More, err
		case uploading && x.upload.isOver():
			continue
		case !watched && !uploading:
			x.who.startWatch(func() { conn.Close() })
			watched = true
		}
		deadline = limit
		if !reused && x.have == 0 {
			// An app that serves one connection at a time may wait on another one of ours.
			x.pool.closeIdle()
			deadline = earlier(now.Add(stallTimeout), limit)
		}
	}
}

// patience is when to look after the app, and when its answer is late: not before it has got
// all of the request.
func (x *exchange) patience(sent time.Time, uploading, reused bool) (look, limit time.Time) {
	timeout := x.visit.endpoint.RequestTimeout()
	switch {
	case uploading && reused:
		return time.Time{}, time.Time{}
	case !uploading && timeout > 0:
		limit = sent.Add(timeout)
	}
	return earlier(sent.Add(firstLook), limit), limit
}

// earlier gives the earlier of two moments; a zero one is never.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// untilGone lets the app take its time for the rest of its answer, until the client goes away.
func (x *exchange) untilGone() {
	conn := x.upstream
	_ = conn.SetReadDeadline(time.Time{})
	x.who.startWatch(func() { conn.Close() })
}

// part is for an app that has said all. The request is counted out before the client is sent
// the last of the answer: who has got that can count on it. A connection that can be used
// again is kept before, since whoever waits for the request may close those without one.
func (x *exchange) part(reusable bool) {
	conn := x.upstream
	x.upstream = nil
	reusable = x.upload.finish(conn) && reusable
	x.who.stopWatch() // which would close what is the next request's
	if reusable && !x.app.Close && !x.who.hasLeft() {
		x.pool.spare.put(conn, x.visit.answered)
	} else {
		conn.Close()
	}
	x.visit.countOut()
}

// hangUp ends a connection on which the app has not said all.
func (x *exchange) hangUp() {
	if x.upstream != nil {
		x.upstream.Close()
		x.upload.finish(x.upstream)
		x.upstream = nil
	}
}
