package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// oneConn is a listener of one connection, whose client has sent all that it will.
type oneConn struct {
	net.Listener
	conn net.Conn
}

func (l *oneConn) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, net.ErrClosed
	}
	conn := l.conn
	l.conn = nil
	return conn, nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }

type sentConn struct {
	*bytes.Reader
	from net.Addr
}

func (c sentConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c sentConn) Close() error                     { return nil }
func (c sentConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }
func (c sentConn) RemoteAddr() net.Addr             { return c.from }
func (c sentConn) SetDeadline(time.Time) error      { return nil }
func (c sentConn) SetReadDeadline(time.Time) error  { return nil }
func (c sentConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzProxyProtocol: whatever a client begins with, one that is not trusted says nothing by
// it, and one that is has it taken off, whole, or is refused.
func FuzzProxyProtocol(f *testing.F) {
	request := "GET / HTTP/1.1\r\nHost: alice.notes.example.com\r\n\r\n"
	v2 := "\r\n\r\n\x00\r\nQUIT\n"
	for _, header := range []string{
		"", "PROXY TCP4 203.0.113.9 127.0.0.1 4096 80\r\n", "PROXY TCP6 2001:db8::1 ::1 4096 80\r\n", "PROXY UNKNOWN\r\n", "PROXY UNKNOWN \r\n",
		"PROXY TCP4 203.0.113.9 127.0.0.1 4096 80\n", "PROXY TCP4 256.0.113.9 127.0.0.1 4096 80\r\n", "PROXY TCP4 203.0.113.9 127.0.0.1 -1 80\r\n", "PROXY  TCP4\r\n", "PROXY",
		v2 + "\x21\x11\x00\x0c\xcb\x00\x71\x09\x7f\x00\x00\x01\x10\x00\x00\x50", v2 + "\x20\x00\x00\x00", v2 + "\x21\x11\xff\xff", v2 + "\x21\x11\x00\x01\x00",
		v2 + "\x21\x21\x00\x24" + "0123456789abcdef0123456789abcdef\x10\x00\x00\x50", v2 + "\x21\x31\x00\xd8", v2 + "\x31\x11\x00\x0c", v2 + "\x21\x11\x00\x0f\xcb\x00\x71\x09\x7f\x00\x00\x01\x10\x00\x00\x50\x04\x00\x00",
	} {
		f.Add([]byte(header+request), true)
		f.Add([]byte(header+request), false)
	}
	from := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 7), Port: 9999}
	f.Fuzz(func(t *testing.T, sent []byte, trusted bool) {
		l := behindProxies(&oneConn{conn: sentConn{bytes.NewReader(sent), from}}, func(addr netip.Addr) bool {
			if addr.String() != "198.51.100.7" {
				t.Fatalf("asked whether %v is trusted", addr)
			}
			return trusted
		})
		conn, err := l.Accept()
		if err != nil {
			return // refused
		}
		defer conn.Close()
		got, err := io.ReadAll(conn)
		addr := conn.RemoteAddr()
		if !trusted {
			if err != nil || !bytes.Equal(got, sent) || addr != net.Addr(from) {
				t.Fatalf("from who is not trusted: got %q, %v, from %v", got, err, addr)
			}
			return
		}
		if !bytes.HasSuffix(sent, got) {
			t.Fatalf("got %q, which is not the rest of %q", got, sent)
		}
		header := sent[:len(sent)-len(got)]
		signed := bytes.HasPrefix(sent, []byte("PROXY")) || bytes.HasPrefix(sent, []byte(v2))
		if len(header) > 0 && len(got) > 0 && !signed {
			t.Fatalf("%q was taken for a header", header)
		}
		if tcp, ok := addr.(*net.TCPAddr); ok && err == nil {
			if _, ok := netip.AddrFromSlice(tcp.IP); !ok {
				t.Fatalf("the address is %v", addr)
			}
			if !signed && !errors.Is(err, io.EOF) && addr.String() != from.String() {
				t.Fatalf("from %v without a header", addr)
			}
		}
	})
}
