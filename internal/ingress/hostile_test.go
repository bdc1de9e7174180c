package ingress

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// patience is the bound that tests set on an exchange.
	patience = 300 * time.Millisecond
	// far is later than anything that has this bound ends on a busy machine, and sooner than
	// what has none is ended by the other side.
	far = 20 * time.Second
)

// doorbell has behave answer each connection, and closes it then.
func doorbell(t *testing.T, behave func(*net.UnixConn)) Doorbell {
	t.Helper()
	path := filepath.Join(t.TempDir(), "d.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(2 * far))
				_, _ = conn.Read(make([]byte, 32))
				behave(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return Doorbell(path)
}

// descriptors counts the open descriptors of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// hold waits until the client hangs up.
func hold(conn *net.UnixConn) { _, _ = io.Copy(io.Discard, conn) }

// send sends a line with descriptors and closes them here.
func send(conn *net.UnixConn, line string, fds ...int) {
	_, _, _ = conn.WriteMsgUnix([]byte(line), unix.UnixRights(fds...), nil)
	for _, fd := range fds {
		unix.Close(fd)
	}
}

func must(fd int, err error) int {
	if err != nil {
		panic(err)
	}
	return fd
}

func pair(kind int) (int, int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	return fds[0], fds[1]
}

func nulls(n int) []int {
	fds := make([]int, n)
	for i := range fds {
		fds[i] = must(unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0))
	}
	return fds
}

const ok = "ok init=1 ready=2 dozing=0\n"

func TestHostileDoorbell(t *testing.T) {
	one := func() int { return must(unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)) }
	stream := func() int { a, b := pair(unix.SOCK_STREAM); unix.Close(b); return a }
	for name, behave := range map[string]func(*net.UnixConn){
		"no answer":           hold,
		"closes at once":      func(*net.UnixConn) {},
		"half an answer":      func(c *net.UnixConn) { _, _ = c.Write([]byte("ok init=1")); hold(c) },
		"half and closes":     func(c *net.UnixConn) { _, _ = c.Write([]byte("ok init=1")) },
		"half with a socket":  func(c *net.UnixConn) { send(c, "ok ", stream()); hold(c) },
		"garbage":             func(c *net.UnixConn) { _, _ = c.Write([]byte("\x00\xff\xfe\n\n\n")) },
		"empty line":          func(c *net.UnixConn) { _, _ = c.Write([]byte("\n")) },
		"number too large":    func(c *net.UnixConn) { send(c, "ok init=99999999999999999999\n", stream()) },
		"endless answer":      func(c *net.UnixConn) { endless(c, nil) },
		"endless descriptors": func(c *net.UnixConn) { endless(c, one) },
		"byte by byte": func(c *net.UnixConn) {
			for range 100 {
				if _, err := c.Write([]byte("o")); err != nil {
					return
				}
				time.Sleep(patience / 20)
			}
		},
		"no descriptor":       func(c *net.UnixConn) { _, _ = c.Write([]byte(ok)) },
		"two descriptors":     func(c *net.UnixConn) { send(c, ok, stream(), stream()) },
		"two in two messages": func(c *net.UnixConn) { send(c, "ok ", stream()); send(c, "init=1\n", stream()) },
		"sixty descriptors":   func(c *net.UnixConn) { send(c, ok, nulls(60)...) },
		"a file":              func(c *net.UnixConn) { send(c, ok, one()) },
		"a pipe": func(c *net.UnixConn) {
			r, w, _ := os.Pipe()
			send(c, ok, must(unix.Dup(int(r.Fd()))))
			r.Close()
			w.Close()
		},
		"a listening socket": func(c *net.UnixConn) { send(c, ok, listening()) },
		"a datagram socket":  func(c *net.UnixConn) { a, b := pair(unix.SOCK_DGRAM); unix.Close(b); send(c, ok, a) },
		"a packet socket":    func(c *net.UnixConn) { a, b := pair(unix.SOCK_SEQPACKET); unix.Close(b); send(c, ok, a) },
		"an unconnected socket": func(c *net.UnixConn) {
			send(c, ok, must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)))
		},
		"a netlink socket": func(c *net.UnixConn) {
			send(c, ok, must(unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)))
		},
		"an O_PATH descriptor": func(c *net.UnixConn) {
			send(c, ok, must(unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)))
		},
		"an epoll descriptor": func(c *net.UnixConn) { send(c, ok, must(unix.EpollCreate1(unix.EPOLL_CLOEXEC))) },
		"itself": func(c *net.UnixConn) {
			f, _ := c.File()
			send(c, "error x", must(unix.Dup(int(f.Fd()))))
			f.Close()
			hold(c)
		},
		"a refusal with a socket": func(c *net.UnixConn) {
			send(c, "error refused no\n", stream())
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := doorbell(t, behave)
			before := descriptors(t)
			for range 5 {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				begun := time.Now()
				conn, _, err := d.Connect(ctx)
				if err == nil {
					t.Errorf("connect: got a connection from %v", conn.RemoteAddr())
					conn.Close()
				}
				if took := time.Since(begun); took > far {
					t.Errorf("the refusal took %v", took)
				}
				cancel()
			}
			settled(t, before)
		})
	}
}

// settled waits until no more descriptors are open than before: the doorbell's side
// of a test closes its own in its own time.
func settled(t *testing.T, before int) {
	t.Helper()
	deadline := time.Now().Add(far)
	for descriptors(t) > before {
		if time.Now().After(deadline) {
			t.Fatalf("got %d open descriptors, want %d as before", descriptors(t), before)
		}
		time.Sleep(time.Millisecond)
	}
}

func endless(c *net.UnixConn, fd func() int) {
	for range 1 << 20 {
		var err error
		if fd != nil {
			n := fd()
			_, _, err = c.WriteMsgUnix([]byte(strings.Repeat("x", 64)), unix.UnixRights(n), nil)
			unix.Close(n)
		} else {
			_, err = c.Write([]byte(strings.Repeat("x", 64)))
		}
		if err != nil {
			return
		}
	}
}

func listening() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		panic(err)
	}
	defer f.Close()
	return must(unix.Dup(int(f.Fd())))
}

// Do takes no descriptor at all.
func TestDescriptorWhereThereShouldBeNone(t *testing.T) {
	d := doorbell(t, func(c *net.UnixConn) { a, b := pair(unix.SOCK_STREAM); unix.Close(b); send(c, ok, a) })
	before := descriptors(t)
	if _, err := d.Do(t.Context(), Ready); err == nil {
		t.Error("got no error")
	}
	settled(t, before)
}

func TestHowItEndsIsTold(t *testing.T) {
	missing := Doorbell(filepath.Join(t.TempDir(), "none.sock"))
	if _, err := missing.Do(t.Context(), Ready); !errors.Is(err, ErrNoDoorbell) {
		t.Errorf("no socket: got %v, want %v", err, ErrNoDoorbell)
	}
	dead := filepath.Join(t.TempDir(), "dead.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := Doorbell(dead).Do(t.Context(), Ready); !errors.Is(err, ErrNoDoorbell) {
		t.Errorf("nobody listens: got %v, want %v", err, ErrNoDoorbell)
	}
	for name, behave := range map[string]func(*net.UnixConn){
		"closes":         func(*net.UnixConn) {},
		"closes half":    func(c *net.UnixConn) { _, _ = c.Write([]byte("ok in")) },
		"resets, unread": nil,
	} {
		d := doorbell(t, behave)
		if behave == nil {
			path := filepath.Join(t.TempDir(), "r.sock")
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := l.AcceptUnix()
				if err == nil {
					_, _ = conn.Write([]byte("o"))
					awaitUnread(conn)
					conn.Close()
				}
			}()
			d = Doorbell(path)
			defer func() { l.Close(); <-done }()
		}
		if _, err := d.Do(t.Context(), Ready); !errors.Is(err, ErrHungUp) {
			t.Errorf("%s: got %v, want %v", name, err, ErrHungUp)
		}
	}
	d := doorbell(t, func(c *net.UnixConn) { _, _ = c.Write([]byte("error exited exit \x1b[31mstatus\r 3\n")) })
	_, err = d.Do(t.Context(), Ready)
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Class != ClassExited || strings.ContainsAny(refusal.Text, "\x1b\r") {
		t.Errorf("got %#v, want a refusal that is fit for a terminal", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := doorbell(t, hold).Do(ctx, Ready); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
}

// awaitUnread waits until something that was sent waits at conn (SIOCINQ, unix(7)).
func awaitUnread(conn *net.UnixConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		panic(err)
	}
	for end, n := time.Now().Add(far), 0; n == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
}

// A backlog that is full is waited out, not refused.
func TestFullBacklog(t *testing.T) {
	fd := must(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	defer unix.Close(fd)
	path := filepath.Join(t.TempDir(), "full.sock")
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := Doorbell(path).Do(ctx, Ready); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the end of the wait", err)
			}
		})
	}
	wg.Wait()
}

// connected gives both ends of a TCP connection that came over a doorbell: ours, and
// the descriptor that the tenant has kept.
func connected(t *testing.T) (ours net.Conn, kept int, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	app, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if peer, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	f, err := app.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	app.Close()
	kept = must(unix.Dup(int(f.Fd())))
	f.Close()
	d := doorbell(t, func(c *net.UnixConn) { send(c, ok, must(unix.Dup(kept))) })
	conn, _, err := d.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn, kept, peer
}

// The tenant clears O_NONBLOCK, which both descriptors share: our deadlines hold.
func TestTenantMakesTheSocketBlocking(t *testing.T) {
	conn, kept, peer := connected(t)
	defer conn.Close()
	defer peer.Close()
	defer unix.Close(kept)
	if err := unix.SetNonblock(kept, false); err != nil {
		t.Fatal(err)
	}
	hang := time.AfterFunc(far, func() { peer.Close() }) // or it would wait for ever
	defer hang.Stop()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	var err error
	for err == nil { // the other side does not read
		_, err = conn.Write(make([]byte, 1<<20))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write: got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	conn.SetDeadline(time.Time{})
	closed := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		closed <- err
	}()
	conn.Close()
	select {
	case <-closed:
	case <-time.After(far):
		t.Error("a close did not end a read")
	}
}

// The tenant makes close(2) wait for data that nobody takes (SO_LINGER, socket(7)).
func TestTenantMakesTheSocketLinger(t *testing.T) {
	conn, kept, peer := connected(t)
	defer peer.Close()
	if err := unix.SetsockoptLinger(kept, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 30}); err != nil {
		t.Fatal(err)
	}
	conn.SetWriteDeadline(time.Now().Add(patience))
	var err error
	for err == nil {
		_, err = conn.Write(make([]byte, 1<<20))
	}
	unix.SetNonblock(kept, false)
	// Were it the last close, it would linger itself: as the tenant's end is closed
	// first, ours is the last.
	unix.Close(kept)
	begun := time.Now()
	conn.Close()
	if took := time.Since(begun); took > far {
		t.Errorf("the close took %v", took)
	}
}

func TestConnection(t *testing.T) {
	conn, kept, peer := connected(t)
	unix.Close(kept)
	defer peer.Close()
	if _, err := conn.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*Conn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(peer); string(got) != "ping" || err != nil {
		t.Errorf("got %q, %v, want ping", got, err)
	}
	if _, err := peer.Write([]byte("pong")); err != nil {
		t.Fatal(err)
	}
	peer.Close()
	if got, err := io.ReadAll(conn); string(got) != "pong" || err != nil {
		t.Errorf("got %q, %v, want pong", got, err)
	}
	if n, err := conn.Read(nil); n != 0 || err != nil {
		t.Errorf("empty read: got %d, %v", n, err)
	}
	conn.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after close: got %v, want %v", err, net.ErrClosed)
	}
}

// ReadCall is ten-init's side: whoever rings badly is hung up on.
func TestReadCall(t *testing.T) {
	for text, want := range map[string]Verb{
		"connect\n": Connect, "ready\nrest": Ready, "\n": "", "nonsense\n": "nonsense",
		"ready  \n": Ready, " ready\n": "", "connect trace=1 since=\x00\n": Connect,
		"doze " + strings.Repeat("x", maxRequest-6) + "\n": Doze,
	} {
		a, b := pair(unix.SOCK_STREAM)
		client, server := unixConn(t, a), unixConn(t, b)
		if _, err := client.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		call, err := ReadCall(server)
		if err != nil || call.Verb != want {
			t.Errorf("%q: got %+v, %v, want %q", text, call, err, want)
			continue
		}
		call.conn.Close()
		client.Close()
	}
	for _, text := range []string{"", "connect", "connect ", strings.Repeat("x", maxRequest) + "\n", strings.Repeat("x", 4096)} {
		a, b := pair(unix.SOCK_STREAM)
		client, server := unixConn(t, a), unixConn(t, b)
		_, _ = client.Write([]byte(text))
		_ = client.CloseWrite()
		if call, err := ReadCall(server); err == nil {
			t.Errorf("%.40q: got %+v, want an error", text, call)
		}
		client.Close()
	}
}

func unixConn(t *testing.T, fd int) *net.UnixConn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "pair")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*net.UnixConn)
}

func FuzzDecode(f *testing.F) {
	f.Add("ok init=1 ready=2 dozing=1")
	f.Add("ok")
	f.Add("error exited exit status 3")
	f.Add("error  ")
	f.Add("ok init=-9223372036854775808 x=1")
	f.Fuzz(func(t *testing.T, line string) {
		answer, err := decode(line)
		var refusal *Refusal
		switch {
		case err == nil:
			again, err := decode(strings.TrimSuffix(answer.encode(), "\n"))
			if err != nil || again != answer {
				t.Errorf("got %+v, %v after a round trip, want %+v", again, err, answer)
			}
		case errors.As(err, &refusal):
			encoded := refusal.encode()
			if len(encoded) > maxLine || strings.Count(encoded, "\n") != 1 {
				t.Errorf("refusal %q is no single line", encoded)
			}
			for _, c := range refusal.Text {
				if c < ' ' || c == 0x7f {
					t.Errorf("refusal %q has a control character", refusal.Text)
				}
			}
		}
	})
}
