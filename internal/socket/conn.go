package socket

import (
	"io"
	"net"
	"os"
	"syscall"
)

// Conn is a TCP connection whose bytes go by Transfers.
type Conn struct {
	*net.TCPConn
	transfers Transfers
}

// newConn gives the connection that is used instead of c from now on.
func newConn(c *net.TCPConn) (*Conn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	conn := &Conn{TCPConn: c}
	conn.transfers.Init(raw)
	return conn, nil
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, failed, err := c.transfers.Receive(p)
	switch {
	case err != nil || failed != 0:
		return 0, c.failed("read", "recvfrom", failed, err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	n, failed, err := c.transfers.Send(p)
	if err != nil || failed != 0 {
		return n, c.failed("write", "sendto", failed, err)
	}
	return n, nil
}

// IsQuiet reports whether nothing of the peer's is to be received just now, neither bytes nor its
// end nor an error.
func (c *Conn) IsQuiet() (quiet bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Control(func(fd uintptr) { quiet = isQuiet(fd) }) == nil && quiet
}

// failed gives the error that package net would.
func (c *Conn) failed(op, call string, failed syscall.Errno, err error) error {
	if err != nil {
		return err // the poller's is one already
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(call, failed)}
}

// Listener is a listener whose TCP connections are Conns; others stay as they are.
type Listener struct{ net.Listener }

// Accept implements net.Listener.
func (l Listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		if c, err := newConn(tcp); err == nil {
			return c, nil
		}
	}
	return conn, err
}
