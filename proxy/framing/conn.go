package framing

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
)

// malformed is a fault wherever net/http reads it: in a request line, in a field line and
// between two, in a chunk's first line whatever its extensions, behind a chunk's data, and in
// the trailers, which it looks for the end of first.
const malformed = "\x00\n\x00\r\n\r\n"

// Conn is a client's connection as a server of net/http shall read it. Like any connection
// it has one reader at a time.
type Conn struct {
	net.Conn
	follower follower
	// refused: from here on the server reads left, and then the end.
	refused bool
	left    string
	// undecided: the next byte may be of another protocol.
	undecided bool
	// held are bytes that were read behind a request which may lead to that.
	held  []byte
	aside bool
	// received is how much the server has read.
	received atomic.Int64
}

// NewConn gives the connection that a server of net/http shall read instead of c, of which
// read has been read already. Where c is one of TLS, whose handshake must be done, the server
// finds its state.
func NewConn(c net.Conn, read ...byte) net.Conn {
	if secure, ok := c.(*tls.Conn); ok {
		return &secureConn{Conn: Conn{Conn: c, held: read}, secure: secure}
	}
	return &Conn{Conn: c, held: read}
}

// secureConn is one over TLS.
type secureConn struct {
	Conn
	secure *tls.Conn
}

// ConnectionState is where net/http looks for it.
func (c *secureConn) ConnectionState() tls.ConnectionState { return c.secure.ConnectionState() }

// NetConn is the connection below.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Received is how much the server has read so far.
func (c *Conn) Received() int64 { return c.received.Load() }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	c.received.Add(int64(n))
	return n, err
}

func (c *Conn) read(p []byte) (int, error) {
	switch {
	case c.aside:
		return c.next(p)
	case c.refused:
		n := copy(p, c.left)
		c.left = c.left[n:]
		if n == 0 && len(p) > 0 {
			return 0, io.EOF
		}
		return n, nil
	case c.undecided && len(p) > 0:
		return c.one(p[:1])
	}
	n, err := c.next(p)
	passed, verdict := c.follower.follow(p[:n])
	if verdict == fine {
		return n, err
	}
	if verdict == upgraded {
		c.undecided = true
		c.held = slices.Concat(p[passed:n], c.held)
		return passed, err
	}
	c.refused, c.left = true, malformed
	c.held = nil
	if passed == 0 {
		return c.read(p)
	}
	return passed, nil
}

// one reads a single byte behind a request that asks for another protocol. The server
// waits for that many while it handles the request, to see whether the client is still
// there; the next read shows that the protocol has not been changed.
func (c *Conn) one(p []byte) (int, error) {
	n, err := c.next(p)
	if n == 0 {
		return 0, err
	}
	c.undecided = false
	if _, verdict := c.follower.follow(p); verdict != fine {
		c.refused, c.left = true, malformed
	}
	return n, err
}

// next reads what was held back, or from the connection.
func (c *Conn) next(p []byte) (int, error) {
	if len(c.held) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.held)
	if c.held = c.held[n:]; len(c.held) == 0 {
		c.held = nil
	}
	return n, nil
}

// StepAside lets all pass from now on. It is called when the server has given the
// connection to a handler (http.StateHijacked), which may only do so for a request that
// asks for another protocol.
func (c *Conn) StepAside() { c.aside = true }

// ReadFrom implements io.ReaderFrom: what TCP can do without copying, it still can.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// CloseWrite ends what is sent, where the connection can do that.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
