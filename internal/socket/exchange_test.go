package socket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// exchanging is an Exchange, and who is at its other end.
func exchanging(t *testing.T) (*Exchange, *Conn, *net.TCPConn) {
	t.Helper()
	conn, peer := pair(t)
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	x := &Exchange{}
	x.Init(raw)
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	return x, conn, peer
}

// Whenever the answer comes, it is heard: at once, and after a while.
func TestExchangesInTurns(t *testing.T) {
	x, _, peer := exchanging(t)
	go func() {
		buf := make([]byte, 64)
		for i := 0; ; i++ {
			n, err := peer.Read(buf)
			if err != nil {
				return
			}
			if i%1000 == 0 {
				time.Sleep(time.Millisecond)
			}
			_, _ = peer.Write(buf[:n])
		}
	}()
	answer := make([]byte, 64)
	for i := range 5000 {
		got := x.Do([]byte("hello"), answer)
		if want := (Exchanged{Quiet: true, Sent: 5, Received: 5}); got != want || string(answer[:5]) != "hello" {
			t.Fatalf("exchange %d: got %+v %q", i, got, answer[:got.Received])
		}
	}
}

func TestExchangeAfterMore(t *testing.T) {
	x, conn, peer := exchanging(t)
	answer := make([]byte, 64)
	if _, err := peer.Write([]byte("unasked")); err != nil {
		t.Fatal(err)
	}
	await(t, conn)
	if got := x.Do([]byte("hello"), answer); got != (Exchanged{}) {
		t.Errorf("after bytes: got %+v", got)
	}
	if n, err := conn.Read(answer); err != nil || string(answer[:n]) != "unasked" {
		t.Errorf("then: got %q, %v", answer[:n], err)
	}
	if err := peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	await(t, conn)
	if got := x.Do([]byte("hello"), answer); got != (Exchanged{}) {
		t.Errorf("after the end: got %+v", got)
	}
	conn.Close()
	if got := x.Do([]byte("hello"), answer); got.Quiet || !errors.Is(got.Err, net.ErrClosed) {
		t.Errorf("when closed: got %+v", got)
	}
}

// await waits until there is something to be received.
func await(t *testing.T, conn *Conn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err == nil {
		err = raw.Read(func(fd uintptr) bool { return !isQuiet(fd) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestExchangeWithoutAnswer(t *testing.T) {
	x, conn, peer := exchanging(t)
	answer := make([]byte, 64)
	heard := make(chan string, 1)
	go func() { // the time ends when the peer has the question
		buf := make([]byte, 64)
		n, err := peer.Read(buf)
		_ = conn.SetReadDeadline(time.Now())
		heard <- fmt.Sprint(string(buf[:n]), " ", err)
	}()
	if got := x.Do([]byte("hello"), answer); !got.Quiet || got.Sent != 5 || !errors.Is(got.Err, os.ErrDeadlineExceeded) {
		t.Errorf("no answer in time: got %+v", got)
	}
	if got := x.Do([]byte("again"), answer); got.Quiet || got.Sent != 0 || !errors.Is(got.Err, os.ErrDeadlineExceeded) {
		t.Errorf("past the deadline: got %+v", got)
	}
	if got := <-heard; got != "hello <nil>" {
		t.Errorf("the peer has got %s", got)
	}
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	large := make([]byte, 64<<20) // more than a socket takes
	got := x.Do(large, answer)
	if !got.Quiet || got.Sent == 0 || got.Sent == len(large) || got.Received != 0 || got.Err != nil {
		t.Errorf("more than goes at once: got %+v", got)
	}
}

func TestExchangeThatEnds(t *testing.T) {
	x, _, peer := exchanging(t)
	go func() {
		_, _ = io.ReadFull(peer, make([]byte, 5))
		_ = peer.CloseWrite()
	}()
	if got := x.Do([]byte("hello"), make([]byte, 64)); got != (Exchanged{Quiet: true, Sent: 5}) {
		t.Errorf("end instead of an answer: got %+v", got)
	}
}

func TestExchangeThatIsReset(t *testing.T) {
	x, _, peer := exchanging(t)
	go func() {
		_, _ = io.ReadFull(peer, make([]byte, 4))
		_ = peer.SetLinger(0)
		_ = peer.Close()
	}()
	if got := x.Do([]byte("hello"), make([]byte, 64)); !got.Quiet || got.Failed != syscall.ECONNRESET {
		t.Errorf("reset instead of an answer: got %+v", got)
	}
}

func TestExchangesAllocateNothing(t *testing.T) {
	if raceEnabled {
		return // it allocates by itself
	}
	x, _, peer := exchanging(t)
	go func() { _, _ = io.Copy(struct{ io.Writer }{peer}, struct{ io.Reader }{peer}) }()
	request, answer := []byte("hello"), make([]byte, 64)
	if got := testing.AllocsPerRun(200, func() { x.Do(request, answer) }); got != 0 {
		t.Errorf("got %v allocations", got)
	}
}
