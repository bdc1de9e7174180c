package main

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bind tries to listen on each of the TCP ports from..to at once, of the address ip, and
// tells on which it does. With mptcp=1 they are sockets of that protocol.
func bind(w http.ResponseWriter, r *http.Request) {
	ip, protocol := net.ParseIP(r.URL.Query().Get("ip")), 0
	if r.URL.Query().Get("mptcp") != "" {
		protocol = unix.IPPROTO_MPTCP
	}
	for port := number(r, "from"); port <= number(r, "to"); port++ {
		fd, err := listenOn(ip, port, protocol)
		if fd >= 0 {
			defer unix.Close(fd)
		}
		if err == nil {
			fmt.Fprintln(w, port)
		}
	}
}

func listenOn(ip net.IP, port, protocol int) (fd int, err error) {
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: port, Addr: [16]byte(ip.To16())})
	if ip4 := ip.To4(); ip4 != nil {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: [4]byte(ip4)}
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, protocol)
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	return fd, err
}

// connect tries to connect to each address in to, which commas separate, and tells which
// it reached: "tcp!127.0.0.1:80", "unix!/run/x.sock". With mptcp=1 TCP is that protocol.
func connect(w http.ResponseWriter, r *http.Request) {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	dialer.SetMultipathTCP(r.URL.Query().Get("mptcp") != "")
	for to := range strings.SplitSeq(r.URL.Query().Get("to"), ",") {
		network, address, _ := strings.Cut(to, "!")
		conn, err := dialer.Dial(network, address)
		if err == nil {
			conn.Close()
			fmt.Fprintln(w, to)
		}
	}
}

// extra makes this app listen on another address, and tells which it is.
func extra(w http.ResponseWriter, r *http.Request) {
	l, err := net.Listen("tcp", r.URL.Query().Get("on"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	go func() { _ = http.Serve(l, routes()) }()
	fmt.Fprintln(w, l.Addr())
}
