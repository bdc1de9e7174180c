package ingress

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/socket"
)

// Conn is a connection to an app. The app's side may hold the same open file
// description and clear its O_NONBLOCK flag at any time; a plain read(2) would then
// block a thread of ours beyond any deadline. Conn therefore asks for each transfer
// not to block; see package socket.
//
// It is a file and not one of package net's, which would make a copy of the descriptor
// and set options that ten-init has set: there is one of it for each health check.
type Conn struct {
	stream
	transfers socket.Transfers
}

// stream is a stream socket that waits in the runtime's poller.
type stream struct {
	file *os.File
	raw  syscall.RawConn
}

// newStream takes over fd, and closes it on an error.
func newStream(fd int, name string) (stream, error) {
	// What does not block is polled; the flag is the open file description's, so its
	// other holder may have cleared it.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return stream{}, fmt.Errorf("take over %s: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	raw, err := file.SyscallConn()
	if err == nil {
		err = file.SetDeadline(time.Time{}) // an error where it is not polled
	}
	if err != nil {
		file.Close()
		return stream{}, fmt.Errorf("take over %s: %w", name, err)
	}
	return stream{file, raw}, nil
}

// newConn takes over fd, which must be a connected stream socket that the user sender
// may have us write to, and closes it when it is not.
func newConn(fd int, sender uint32) (*Conn, error) {
	if err := checkConnected(fd, sender); err != nil {
		unix.Close(fd)
		return nil, err
	}
	s, err := newStream(fd, "app")
	if err != nil {
		return nil, err
	}
	c := &Conn{stream: s}
	c.transfers.Init(s.raw)
	return c, nil
}

// SyscallConn implements syscall.Conn. Who uses it may meet a socket that blocks.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// checkConnected makes sure that fd is a connected stream socket of a family that
// apps listen on, and a Unix socket the sender's own.
func checkConnected(fd int, sender uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("fstat: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return errors.New("descriptor is not a socket")
	}
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return fmt.Errorf("get socket family: %w", err)
	}
	if family != unix.AF_INET && family != unix.AF_INET6 && family != unix.AF_UNIX {
		return fmt.Errorf("socket of family %d", family)
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return fmt.Errorf("get socket type: %w", err)
	}
	if kind != unix.SOCK_STREAM {
		return fmt.Errorf("socket of type %d", kind)
	}
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return fmt.Errorf("get socket state: %w", err)
	}
	if listening != 0 {
		return errors.New("socket is listening")
	}
	if _, err := unix.Getpeername(fd); err != nil {
		// Most likely the app has died since.
		return fmt.Errorf("%w: socket is not connected: %w", ErrHungUp, err)
	}
	if family == unix.AF_UNIX {
		return checkPeer(fd, sender)
	}
	return nil
}

// checkPeer makes sure that a Unix socket is connected to the sender's own. Some
// services go by the uid of whoever writes to them (SCM_CREDENTIALS, unix(7)): a tenant
// could connect to one and have us speak there. Who is root needs no such help.
func checkPeer(fd int, sender uint32) error {
	if sender == 0 {
		return nil
	}
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return fmt.Errorf("get socket's peer: %w", err)
	}
	if peer.Uid != sender {
		return fmt.Errorf("socket of uid %d is connected to uid %d", sender, peer.Uid)
	}
	return nil
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, failed, err := c.transfers.Receive(p)
	switch {
	case err != nil:
		return 0, c.failed("read", err)
	case failed != 0:
		return 0, c.failed("read", os.NewSyscallError("recvfrom", failed))
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	n, failed, err := c.transfers.Send(p)
	switch {
	case err != nil:
		return n, c.failed("write", err)
	case failed != 0:
		return n, c.failed("write", os.NewSyscallError("sendto", failed))
	}
	return n, nil
}

// Close implements net.Conn. The app's side may have asked that closing waits for
// unsent data (SO_LINGER, socket(7)), which would hold a thread of ours for hours.
func (c *Conn) Close() error {
	_ = c.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	})
	return c.file.Close()
}

// CloseWrite shuts down the writing side, as net.TCPConn and net.UnixConn do.
func (c *Conn) CloseWrite() error {
	var opErr error
	if err := c.raw.Control(func(fd uintptr) { opErr = unix.Shutdown(int(fd), unix.SHUT_WR) }); err != nil {
		return c.failed("close", err)
	}
	if opErr != nil {
		return c.failed("close", os.NewSyscallError("shutdown", opErr))
	}
	return nil
}

// failed gives the error that package net would.
func (c *Conn) failed(op string, err error) error {
	var number syscall.Errno
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.As(err, &number) {
		err = net.ErrClosed // all else that the poller may say
	}
	return &net.OpError{Op: op, Net: addr{}.Network(), Addr: addr{}, Err: err}
}

// addr is where both ends of a Conn are, as far as anybody needs to know.
type addr struct{}

func (addr) Network() string { return "app" }
func (addr) String() string  { return "app" }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return addr{} }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return addr{} }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.file.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.file.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.file.SetWriteDeadline(t) }
