package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// shareOf6 is at how many looks one is made on the IPv6 loopback too, where few listen
// alone: each costs as much as one on the other.
const shareOf6 = 4

// knock makes one try to connect to the app, and gives the family in which it was reached,
// if that is one of TCP's. Apps that bind to the IPv6 loopback alone are reached too, where
// the family is not known yet and both is set. It makes the system calls itself, on one
// thread: net.Dialer takes several times as long, and there is one of these for each
// connection of the daemon's.
func (a address) knock(both bool) (conn *os.File, network string, err error) {
	if a.kind != "port" {
		conn, err = connect(syscall.AF_UNIX, &syscall.SockaddrUnix{Name: a.path})
		return conn, "", err
	}
	if a.network != "tcp6" {
		conn, err = connect(syscall.AF_INET, &syscall.SockaddrInet4{Port: a.port, Addr: [4]byte{127, 0, 0, 1}})
		if err == nil || !both || a.network == "tcp4" || !errors.Is(err, syscall.ECONNREFUSED) {
			return conn, "tcp4", err
		}
	}
	conn, err6 := connect(syscall.AF_INET6, &syscall.SockaddrInet6{Port: a.port, Addr: loopback6})
	if err6 != nil && err != nil {
		return nil, "", err
	}
	return conn, "tcp6", err6
}

var loopback6 = [16]byte{15: 1}

// connect makes a connection within tryTimeout (socket(7), SO_SNDTIMEO): after that the
// error is EINPROGRESS, or EAGAIN of a Unix socket.
func connect(family int, to syscall.Sockaddr) (*os.File, error) {
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	timeout := syscall.NsecToTimeval(int64(tryTimeout))
	err = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &timeout)
	if err == nil && family != syscall.AF_UNIX {
		if err = shareAddress(fd); err == nil {
			err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		}
	}
	if err == nil {
		err = syscall.Connect(fd, to)
	}
	if err != nil {
		syscall.Close(fd)
		return nil, fmt.Errorf("connect: %w", err)
	}
	return os.NewFile(uintptr(fd), "app"), nil
}

// shareAddress lets the app bind its port although a try had come from that very port
// and so reached itself, as happens with a port that the kernel gives to clients
// (net.ipv4.ip_local_port_range): what is left of it would be in the way for a minute.
func shareAddress(fd int) error {
	return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
}
