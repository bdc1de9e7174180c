package main

import (
	"net"
	"net/netip"
	"os"
	"testing"
)

func TestSocketUID(t *testing.T) {
	for _, c := range []struct{ listen, dial, network string }{
		{"127.0.0.1:0", "127.0.0.1", "tcp4"},
		{"[::1]:0", "::1", "tcp6"},
	} {
		l, err := net.Listen(c.network, c.listen)
		if err != nil && c.network == "tcp6" {
			t.Logf("a machine without IPv6: %v", err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		local := netip.MustParseAddrPort(conn.LocalAddr().String())
		remote := netip.MustParseAddrPort(conn.RemoteAddr().String())
		if got, err := socketUID(local, remote); err != nil || got != os.Getuid() {
			t.Errorf("%s: got %d, %v, want %d", c.network, got, err, os.Getuid())
		}
		if got, err := socketUID(netip.AddrPortFrom(local.Addr(), 1), remote); err == nil {
			t.Errorf("%s: got %d for a connection that there is not, want an error", c.network, got)
		}
	}
}
