package main

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A lookout sees who listens where a try to connect would reach it, and nobody else.
func TestLookout(t *testing.T) {
	for network, host := range map[string]string{"tcp4": "127.0.0.1", "tcp6": "::1", "tcp": ""} {
		l, err := net.Listen(network, net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		out := newLookout(port)
		if out == nil {
			t.Fatal("no lookout: this test needs the kernel's tcp_diag")
		}
		defer out.close()
		seen := false
		for range shareOf6 {
			seen = out.sees() || seen
		}
		if !seen {
			t.Errorf("%s: not seen", network)
		}
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		own := newLookout(client.LocalAddr().(*net.TCPAddr).Port)
		defer own.close()
		l.Close()
		for what, out := range map[string]*lookout{"closed": out, "a client's port": own} {
			for range shareOf6 {
				if out.sees() {
					t.Errorf("%s, %s: sees somebody", network, what)
				}
			}
		}
	}
}

// One lookout does for all that is asked before an app is ready, in any order: whether its
// port is taken, who listens there, and whether somebody does.
func TestLookoutIsAskedForEverything(t *testing.T) {
	for network, host := range map[string]string{"tcp4": "127.0.0.1", "tcp6": "::1", "tcp": ""} {
		l, err := net.Listen(network, net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		a := address{kind: "port", port: port}
		out := a.lookout()
		defer out.close()
		for _, listens := range []bool{true, false} {
			if !listens {
				l.Close()
			}
			for range 2 {
				if got := a.taken(out); got != listens {
					t.Errorf("%s: got taken %v, want %v", network, got, listens)
				}
				found, err := out.owners(os.Getuid())
				if err != nil || found.own != listens || found.other {
					t.Errorf("%s: got %+v, %v, want own %v", network, found, err, listens)
				}
			}
		}
	}
	if out := (address{kind: "unix", path: "/x"}).lookout(); out != nil {
		t.Error("got a lookout for a path")
	}
}

// What is left of the answer to an earlier question is no answer to a later one.
func TestLookoutAfterAQuestionLeft(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out := newLookout(l.Addr().(*net.TCPAddr).Port)
	defer out.close()
	request := diagRequest{
		header: unix.NlMsghdr{Type: diagByFamily, Flags: unix.NLM_F_REQUEST, Seq: 2000},
		family: unix.AF_INET, protocol: unix.IPPROTO_TCP,
		id: diagSocketID{src: [16]byte{127, 0, 0, 1}, dst: [16]byte{127, 0, 0, 1}, cookie: [2]uint32{^uint32(0), ^uint32(0)}},
	}
	request.header.Len = uint32(unsafe.Sizeof(request))
	binary.BigEndian.PutUint16(request.id.sport[:], uint16(out.port))
	request.id.dport = request.id.sport
	message := unsafe.Slice((*byte)(unsafe.Pointer(&request)), unsafe.Sizeof(request))
	if err := unix.Sendto(out.fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Fatal(err)
	}
	l.Close()
	found, err := out.owners(os.Getuid())
	if found.own || found.other || err != nil {
		t.Errorf("got %+v, %v of a port that nobody listens on any more", found, err)
	}
}

func TestLookoutMalformed(t *testing.T) {
	l := &lookout{seq: 1}
	for _, answer := range [][]byte{
		nil,
		{16, 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0},              // a socket without a body
		{20, 0, 0, 0, 20, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 10, 0, 0}, // another's
		{20, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},   // the end of a list
	} {
		if _, err := l.found(answer); !errors.Is(err, errDiagAnswer) {
			t.Errorf("%v: got %v, want %v", answer, err, errDiagAnswer)
		}
	}
}
