package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// pair is a Conn, and who is at its other end.
func pair(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	accepted, err := Listener{l}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	conn, ok := accepted.(*Conn)
	if !ok {
		t.Fatalf("got %T", accepted)
	}
	return conn, peer.(*net.TCPConn)
}

func TestTransfersInBothDirections(t *testing.T) {
	conn, peer := pair(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // more than a socket takes at once
	go func() {
		_, _ = io.Copy(peer, peer)
		_ = peer.CloseWrite()
	}()
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(want)
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	got, err := io.ReadAll(struct{ io.Reader }{conn}) // with none of the shortcuts that a TCPConn has
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes and %v, want %d", len(got), err, len(want))
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestTransfersDoNotBlock(t *testing.T) {
	conn, _ := pair(t)
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// As somebody may who has the same open file description.
	if err := raw.Control(func(fd uintptr) { err = syscall.SetNonblock(int(fd), false) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: got %v", err)
	}
	large := make([]byte, 64<<20) // which nobody reads
	_ = conn.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	n, err := conn.Write(large)
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == len(large) {
		t.Errorf("write: got %d, %v", n, err)
	}
}

func TestEnds(t *testing.T) {
	conn, peer := pair(t)
	peer.CloseWrite()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF { //nolint:errorlint // it is the one that io.Reader asks for
		t.Errorf("read at the end: got %d, %v", n, err)
	}
	if n, err := conn.Read(nil); n != 0 || err != nil {
		t.Errorf("read of nothing: got %d, %v", n, err)
	}
	_ = peer.SetLinger(0)
	peer.Close()
	_, err := conn.Write([]byte("x"))
	if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("write to nobody: got %v", err)
	}
	var network *net.OpError
	if !errors.As(err, &network) || network.Op != "write" {
		t.Errorf("got %#v", err)
	}
	conn.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read when closed: got %v", err)
	}
}

func TestTransfersAllocateNothing(t *testing.T) {
	if raceEnabled {
		return // it allocates by itself
	}
	conn, peer := pair(t)
	buf, theirs := make([]byte, 64), make([]byte, 64)
	if got := testing.AllocsPerRun(200, func() {
		_, _ = peer.Write(theirs[:5])
		_, _ = conn.Read(buf)
		_, _ = conn.Write(buf[:5])
		_, _ = peer.Read(theirs)
	}); got != 0 {
		t.Errorf("got %v allocations", got)
	}
}
