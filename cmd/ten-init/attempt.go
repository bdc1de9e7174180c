package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// attempts are what a probe can try, each with the text after "KIND:" as its argument.
// They run on the calling thread alone.
var attempts = map[string]func(string) error{
	"bind":    func(addr string) error { return withSocket(addr, 0, unix.Bind) },
	"connect": func(addr string) error { return withSocket(addr, 0, unix.Connect) },
	"mptcp":   func(addr string) error { return withSocket(addr, unix.IPPROTO_MPTCP, unix.Bind) },
	"serve":   serveSelf,
	"unix":    connectUnix,
	"read":    readPath,
	"write":   writeIn,
}

// attempt tries what is asked for by name, such as "bind:127.0.0.1:80".
func attempt(what string) error {
	kind, argument, _ := strings.Cut(what, ":")
	try, ok := attempts[kind]
	if !ok {
		return fmt.Errorf("unknown attempt %q", what)
	}
	return try(argument)
}

// withSocket does something with a TCP socket, or one of another protocol, and addr.
func withSocket(addr string, protocol int, do func(int, unix.Sockaddr) error) error {
	family, sa, err := sockaddr(addr)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// Bounds connect(2) too (socket(7)).
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return err
	}
	return do(fd, sa)
}

func sockaddr(addr string) (family int, sa unix.Sockaddr, err error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return 0, nil, err
	}
	if ap.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}, nil
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}, nil
}

// serveSelf listens on addr and connects to it.
func serveSelf(addr string) error {
	return withSocket(addr, 0, func(fd int, sa unix.Sockaddr) error {
		if err := unix.Bind(fd, sa); err != nil {
			return err
		}
		if err := unix.Listen(fd, 1); err != nil {
			return err
		}
		return withSocket(addr, 0, unix.Connect)
	})
}

// connectUnix connects to a Unix socket; "@" begins an abstract name.
func connectUnix(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
}

func readPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// writeIn makes a file in dir, and removes it.
func writeIn(dir string) error {
	path := filepath.Join(dir, fmt.Sprintf(".tenement-probe-%d", os.Getpid()))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	return f.Close()
}
