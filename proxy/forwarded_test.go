package proxy

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestClientAddr(t *testing.T) {
	trusted := func(addr netip.Addr) bool { return addr.IsLoopback() || addr == netip.MustParseAddr("10.0.0.1") }
	for _, c := range []struct{ peer, forwarded, want string }{
		{"192.0.2.1:5", "", "192.0.2.1"},
		{"192.0.2.1:5", "203.0.113.7", "192.0.2.1"}, // who is not trusted is not believed
		{"127.0.0.1:5", "203.0.113.7", "203.0.113.7"},
		{"[::1]:5", "6.6.6.6, 203.0.113.7 , 10.0.0.1", "203.0.113.7"},
		{"127.0.0.1:5", "203.0.113.7:61000, 10.0.0.1:443", "203.0.113.7"}, // with ports, as Azure has them
		{"127.0.0.1:5", "[2001:db8::1]:61000", "2001:db8::1"},
		{"127.0.0.1:5", "[2001:db8::1]", "2001:db8::1"},
		{"127.0.0.1:5", "2001:db8::1", "2001:db8::1"},
		{"127.0.0.1:5", "::ffff:203.0.113.7", "203.0.113.7"},
		{"127.0.0.1:5", "203.0.113.7, unknown", "127.0.0.1"},
		{"127.0.0.1:5", "unknown, 10.0.0.1", "10.0.0.1"},
		{"@", "203.0.113.7", "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{}}
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := ClientAddr(r, trusted).String(); got != c.want {
			t.Errorf("%s, forwarded for %q: got %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
}
