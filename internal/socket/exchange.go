package socket

import "syscall"

// Exchange sends a request and receives the beginning of its answer, on a socket that is
// kept for the next request. An attempt to receive just after the request would find nothing
// yet; so it waits first. What comes meanwhile is not missed, since the poller is asked to
// look out before the request is sent.
type Exchange struct {
	raw     syscall.RawConn
	out, in transfer
	begun   bool
	quiet   bool
	step    func(fd uintptr) (done bool)
	look    func(fd uintptr)
}

// Exchanged is what has come of it.
type Exchanged struct {
	// Quiet is false where something of the peer's was there before, or its end, or the
	// deadline was over: then nothing has been done.
	Quiet bool
	// Sent is how much of the request was sent. Where that is not all of it, nothing has been
	// received, and Refused may have the reason.
	Sent    int
	Refused syscall.Errno
	// Received is how much has come; 0 bytes are the end. Failed is the kernel's word, Err the
	// poller's: past the deadline, or closed.
	Received int
	Failed   syscall.Errno
	Err      error
}

// Init has the exchanges go through raw, which waits in the runtime's poller and is a stream
// socket's. It comes first, and once. There may be one at a time.
func (x *Exchange) Init(raw syscall.RawConn) {
	x.raw, x.step = raw, x.next
	x.look = func(fd uintptr) { x.quiet = isQuiet(fd) }
}

// IsQuiet reports whether the peer has neither closed the connection nor said anything that
// is not received yet.
func (x *Exchange) IsQuiet() bool {
	x.quiet = false
	return x.raw.Control(x.look) == nil && x.quiet
}

// Do makes one, within the socket's deadline for reads.
func (x *Exchange) Do(request, answer []byte) Exchanged {
	x.out, x.in = transfer{p: request}, transfer{p: answer}
	x.begun, x.quiet = false, false
	err := x.raw.Read(x.step)
	x.out.p, x.in.p = nil, nil
	return Exchanged{x.quiet, x.out.n, x.out.err, x.in.n, x.in.err, err}
}

func (x *Exchange) next(fd uintptr) (done bool) {
	if x.begun {
		return x.in.receive(fd)
	}
	x.begun = true
	if x.look(fd); !x.quiet {
		return true
	}
	x.out.send(fd)
	return x.out.n < len(x.out.p)
}
