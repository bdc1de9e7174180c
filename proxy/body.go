package proxy

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"tenement.dev/internal/tenant"
)

const (
	// bodySilence is how long a client may send nothing of a body that it has announced,
	// before its answer has begun.
	bodySilence = time.Minute
	// leftoverTime is how long the rest of a body is waited for that nobody wanted.
	leftoverTime = 5 * time.Second
)

// clientBody is the body of a request. A client that stops sending in the middle of it
// does not hold an instance for ever.
type clientBody struct {
	io.ReadCloser
	control *http.ResponseController
	silence time.Duration
	// leftover is how long the rest is waited for when nobody wants it any more.
	leftover time.Duration
	shared   bool // the connection's next request comes behind it
	// atEnd is called when the body and the trailers have been read; nil is nothing.
	atEnd func()
	meter *tenant.Meter // counts what is read; set before anything is

	// patience is how long the app may take to go on reading, before its answer has begun; 0 is
	// for ever. When it is over, giveUp is called, unless others see to it (see upload). Both
	// are set before anything is read.
	patience time.Duration
	giveUp   func()

	begun  atomic.Bool // the answer has begun: silence is between the client and the app
	ended  atomic.Bool // it has been read to its end
	closed atomic.Bool
	silent atomic.Bool // the client was silent for too long
	failed atomic.Bool // the client sent no proper body, or not all of it
	stuck  atomic.Bool // the app took no more of it

	reading sync.Mutex // held over reads
	mu      sync.Mutex // guards timer and waiting
	timer   *time.Timer
	waiting *time.Timer // for the app to go on reading
}

// bounded gives each request with a body one whose reading has a bound.
func (s *Server) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == http.NoBody || r.ContentLength == 0 { // over HTTP/2 there is a body in any case
			next.ServeHTTP(w, r)
			return
		}
		control := http.NewResponseController(w)
		// An app may answer before it has read the body, and go on reading it.
		_ = control.EnableFullDuplex()
		body := &clientBody{ReadCloser: r.Body, control: control, silence: s.bodySilence, leftover: s.leftoverTime, shared: r.ProtoMajor == 1}
		defer body.Close()
		with := *r
		with.Body = body
		next.ServeHTTP(&early{ResponseWriter: w, body: body}, &with)
	})
}

// early closes the connection behind answers that are sent before the request has ended:
// what comes of the rest must never be taken for another request.
type early struct {
	http.ResponseWriter
	body  *clientBody
	wrote bool
}

// Unwrap is for http.ResponseController.
func (e *early) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (e *early) WriteHeader(status int) {
	if status >= http.StatusOK && !e.wrote {
		e.wrote = true
		if e.body.shared && !e.body.ended.Load() {
			e.Header().Set("Connection", "close")
		}
	}
	e.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (e *early) Write(p []byte) (int, error) {
	if !e.wrote {
		e.WriteHeader(http.StatusOK)
	}
	return e.ResponseWriter.Write(p)
}

// Read implements io.Reader.
func (b *clientBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	b.watch()
	n, err := b.ReadCloser.Read(p)
	b.unwatch(err == nil)
	b.meter.Received(n)
	switch {
	case err == nil, b.closed.Load():
	case err != io.EOF: //nolint:errorlint // as readers say it
		b.failed.Store(true)
	default:
		b.ended.Store(true)
		if b.atEnd != nil {
			b.atEnd()
			b.atEnd = nil
		}
	}
	return n, err
}

// Close implements io.Closer. The server closes what shares its connection, when the
// answer has been sent: it reads on to where the next request begins, and has so long.
func (b *clientBody) Close() error {
	b.mu.Lock()
	if b.waiting != nil {
		b.waiting.Stop()
	}
	b.mu.Unlock()
	switch first := b.closed.CompareAndSwap(false, true); {
	case !b.shared:
		return b.ReadCloser.Close()
	case first && !b.ended.Load():
		// Whoever reads still is to end before: the server would end that, and the deadline too.
		_ = b.control.SetReadDeadline(time.Unix(1, 0))
		b.reading.Lock()
		defer b.reading.Unlock()
		return b.control.SetReadDeadline(time.Now().Add(b.leftover))
	}
	return nil
}

func (b *clientBody) watch() {
	if b.begun.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting != nil {
		b.waiting.Stop()
	}
	if b.timer != nil {
		b.timer.Reset(b.silence)
		return
	}
	b.timer = time.AfterFunc(b.silence, func() {
		if !b.begun.Load() {
			b.silent.Store(true)
			_ = b.control.SetReadDeadline(time.Unix(1, 0)) // ends the reading
		}
	})
}

// unwatch is behind a read. If there is more to come, the app is to ask for it: nobody hears
// of a client that goes away meanwhile.
func (b *clientBody) unwatch(more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.timer.Stop()
	}
	switch {
	case !more || b.patience == 0 || b.begun.Load() || b.closed.Load():
	case b.waiting != nil:
		b.waiting.Reset(b.patience)
	default:
		b.waiting = time.AfterFunc(b.patience, func() {
			if !b.begun.Load() && !b.closed.Load() {
				b.stuck.Store(true)
				b.giveUp()
			}
		})
	}
}

// answering lets the client take its time from now on.
func (b *clientBody) answering() { b.begun.Store(true) }

// bodyOf is the body of a request that came through a Server, or nil.
func bodyOf(r *http.Request) *clientBody {
	b, _ := r.Body.(*clientBody)
	return b
}
