package proxy

import (
	"sync"

	"tenement.dev/proxy/plain"
)

// relayBody has the client sent the body of the answer, as it comes. What the buffer has
// behind the head is the beginning. isHead says that the request was one for the head alone.
func (x *exchange) relayBody(isHead bool) error {
	rest := x.buf[x.head:x.have]
	switch {
	case x.app.Chunked:
		return x.relayChunks(rest)
	case isHead:
		return x.relayLength(rest, 0)
	default:
		return x.relayLength(rest, max(x.app.Length, 0))
	}
}

// relayLength relays a body of a known length, of which rest is the beginning.
func (x *exchange) relayLength(rest []byte, left int64) error {
	data := rest[:min(int64(len(rest)), left)]
	if left -= int64(len(data)); left == 0 {
		x.part(len(data) == len(rest)) // what is behind the body has no place there
		return x.who.send(data, true)
	}
	if err := x.who.send(data, false); err != nil {
		return err
	}
	x.untilGone()
	buf := x.buf
	if left > int64(len(buf)) {
		large, _ := largeBuffers.Get().(*[]byte)
		defer largeBuffers.Put(large)
		buf = *large
	}
	for {
		n, err := x.upstream.Read(buf[:min(left, int64(len(buf)))])
		if left -= int64(n); left == 0 {
			x.part(true)
			return x.who.send(buf[:n], true)
		}
		if serr := x.who.send(buf[:n], false); serr != nil {
			return serr
		}
		if err != nil {
			return errLeft
		}
	}
}

// largeBuffers are lent for large bodies: what costs there is the system calls.
var largeBuffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// relayChunks relays a body that comes in chunks, of which rest is the beginning.
func (x *exchange) relayChunks(rest []byte) error {
	var chunks plain.Chunks
	for watched := false; ; {
		for len(rest) > 0 && !chunks.Ended() {
			data, used, ok := chunks.Next(rest)
			if !ok { // what came before it goes to the client
				_ = x.who.flush(false)
				return errLeft
			}
			if err := x.who.chunk(data); err != nil {
				return err
			}
			rest = rest[used:]
		}
		ended := chunks.Ended()
		if ended {
			x.part(len(rest) == 0) // as above
		}
		if err := x.who.flush(ended); err != nil || ended {
			return err
		}
		if !watched {
			x.untilGone()
			watched = true
		}
		n, err := x.upstream.Read(x.buf)
		if n == 0 && err != nil {
			return errLeft
		}
		rest = x.buf[:n]
	}
}
