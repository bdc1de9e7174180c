package ingress

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Conn is a connection to an app. The app's side may hold the same open file
// description and clear its O_NONBLOCK flag at any time; a plain read(2) would then
// block a thread of ours beyond any deadline. Conn therefore asks for each transfer
// not to block (MSG_DONTWAIT, recv(2)).
type Conn struct {
	net.Conn
	raw syscall.RawConn
}

// newConn takes over fd, which must be a connected stream socket that the user sender
// may have us write to, and closes it when it is not.
func newConn(fd int, sender uint32) (*Conn, error) {
	file := os.NewFile(uintptr(fd), "app")
	defer file.Close()
	if err := checkConnected(fd, sender); err != nil {
		return nil, err
	}
	inner, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("take over connection: %w", err)
	}
	sc, ok := inner.(syscall.Conn)
	if !ok {
		inner.Close()
		return nil, fmt.Errorf("connection of type %T", inner)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		inner.Close()
		return nil, fmt.Errorf("take over connection: %w", err)
	}
	return &Conn{Conn: inner, raw: raw}, nil
}

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
	var n int
	var opErr error
	err := c.raw.Read(func(fd uintptr) bool {
		for {
			n, _, opErr = unix.Recvfrom(int(fd), p, unix.MSG_DONTWAIT)
			if opErr != unix.EINTR {
				break
			}
		}
		return opErr != unix.EAGAIN
	})
	switch {
	case err != nil:
		return 0, err
	case opErr != nil:
		return 0, &net.OpError{Op: "read", Net: "app", Err: os.NewSyscallError("recvfrom", opErr)}
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		var n int
		var opErr error
		err := c.raw.Write(func(fd uintptr) bool {
			for {
				n, opErr = unix.SendmsgN(int(fd), p[written:], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
				if opErr != unix.EINTR {
					break
				}
			}
			return opErr != unix.EAGAIN
		})
		if err != nil {
			return written, err
		}
		if opErr != nil {
			return written, &net.OpError{Op: "write", Net: "app", Err: os.NewSyscallError("sendmsg", opErr)}
		}
		written += n
	}
	return written, nil
}

// Close implements net.Conn. The app's side may have asked that closing waits for
// unsent data (SO_LINGER, socket(7)), which would hold a thread of ours for hours.
func (c *Conn) Close() error {
	_ = c.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	})
	return c.Conn.Close()
}

// CloseWrite shuts down the writing side, as net.TCPConn and net.UnixConn do.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("connection of type %T has no CloseWrite", c.Conn)
	}
	return half.CloseWrite()
}
