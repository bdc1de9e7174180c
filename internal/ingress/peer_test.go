package ingress

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A tenant may pass a connection to what it runs itself, and to nobody else's.
func TestPeerOfUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial := func() int {
		fd := must(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			t.Fatal(err)
		}
		return fd
	}
	self := uint32(os.Getuid())
	for sender, want := range map[uint32]bool{self: true, 0: true, self + 1: false, 0x6ff00000: false} {
		conn, err := newConn(dial(), sender)
		if got := err == nil; got != want {
			t.Errorf("sent by uid %d, connected to uid %d: got %v, want it taken %t", sender, self, err, want)
		}
		if err == nil {
			conn.Close()
		}
	}
	// TCP tells the other side nothing of who writes.
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	fd := must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: tcp.Addr().(*net.TCPAddr).Port}); err != nil {
		t.Fatal(err)
	}
	conn, err := newConn(fd, self+1)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// Who sent a descriptor is the kernel's word, also when it comes in pieces.
func TestSenderOfDescriptor(t *testing.T) {
	for name, behave := range map[string]func(*net.UnixConn){
		"at once": func(c *net.UnixConn) { a, b := pair(unix.SOCK_STREAM); unix.Close(b); send(c, ok, a) },
		"in pieces": func(c *net.UnixConn) {
			_, _ = c.Write([]byte(ok[:3]))
			a, b := pair(unix.SOCK_STREAM)
			unix.Close(b)
			send(c, ok[3:7], a)
			_, _ = c.Write([]byte(ok[7:]))
		},
	} {
		_, sent, err := doorbell(t, behave).ring(t.Context(), Connect)
		if err != nil || sent.fd < 0 || sent.sender != uint32(os.Getuid()) {
			t.Errorf("%s: got %+v, %v, want a descriptor from uid %d", name, sent, err, os.Getuid())
		}
		if sent.fd >= 0 {
			unix.Close(sent.fd)
		}
	}
}
