package main

import (
	"errors"
	"net"
	"testing"
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
