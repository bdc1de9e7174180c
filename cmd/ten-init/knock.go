package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// retryShare bounds what the tries to reach a starting app cost: the pause between two
// is no less than this share of the time that has passed. Where many apps start at once
// each takes long, and tries at a constant pace would take the processors from them.
const retryShare = 1.0 / 16

// pause is the pause before the next try, when so much time has passed.
func pause(passed time.Duration) time.Duration {
	return max(retryInterval, time.Duration(float64(passed)*retryShare))
}

// shareOf6 is at how many tries one is made on the IPv6 loopback too, where few listen
// alone: each costs as much as one on the other.
const shareOf6 = 4

// nap waits for d, or less. The thread itself sleeps: a timer of the runtime's wakes
// several threads, which costs as much as the try that follows.
func nap(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil)
}

// knock is dialOnce for an app that most likely does not accept yet. It makes the
// system calls itself, on one thread: net.Dialer takes several times as long to find a
// port closed. both has it look on both loopbacks where the family is not known yet.
func (a address) knock(both bool) (net.Conn, error) {
	if a.kind != "port" {
		return connect(syscall.AF_UNIX, &syscall.SockaddrUnix{Name: a.path})
	}
	if a.network == "tcp6" {
		return connect(syscall.AF_INET6, &syscall.SockaddrInet6{Port: a.port, Addr: loopback6})
	}
	conn, err := connect(syscall.AF_INET, &syscall.SockaddrInet4{Port: a.port, Addr: [4]byte{127, 0, 0, 1}})
	if errors.Is(err, syscall.ECONNREFUSED) && a.network == "" && both {
		if conn, err6 := connect(syscall.AF_INET6, &syscall.SockaddrInet6{Port: a.port, Addr: loopback6}); err6 == nil {
			return conn, nil
		}
	}
	return conn, err
}

var loopback6 = [16]byte{15: 1}

// connect makes a connection within tryTimeout (socket(7), SO_SNDTIMEO).
func connect(family int, to syscall.Sockaddr) (net.Conn, error) {
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	timeout := syscall.NsecToTimeval(int64(tryTimeout))
	err = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &timeout)
	if err == nil && family != syscall.AF_UNIX {
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) // see shareAddress
	}
	if err == nil {
		err = syscall.Connect(fd, to)
	}
	if err != nil {
		syscall.Close(fd)
		return nil, fmt.Errorf("connect: %w", err)
	}
	file := os.NewFile(uintptr(fd), "app")
	defer file.Close()
	conn, err := net.FileConn(file) // has a descriptor of its own
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAlive(false) // the peer is this machine
	}
	return conn, nil
}
