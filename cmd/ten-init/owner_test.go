package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/ingress"
)

const tcpHeading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

// Lines as Linux prints them, with port 8080 (1F90).
const (
	mine      = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0\n"
	theirs    = "   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 4712 1 0000000000000000 100 0 0 10 0\n"
	theirs6   = "   1: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 100 0 0 10 0\n"
	otherPort = "   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 4714 1 0000000000000000 100 0 0 10 0\n"
	talking   = "   3: 0100007F:1F90 0100007F:A001 01 00000000:00000000 00:00000000 00000000  1001        0 4715 1 0000000000000000 20 4 30 10 -1\n"
)

func TestOwners(t *testing.T) {
	for _, c := range []struct {
		name, table string
		own, other  bool
	}{
		{"empty", "", false, false},
		{"heading", tcpHeading, false, false},
		{"mine", tcpHeading + otherPort + mine + talking, true, false},
		{"theirs", tcpHeading + theirs, false, true},
		{"theirs over IPv6", tcpHeading + theirs6, false, true},
		{"both", tcpHeading + mine + theirs, true, true},
		{"another port", tcpHeading + otherPort, false, false},
		{"a connection", tcpHeading + talking, false, false},
	} {
		own, other, err := owners(strings.NewReader(c.table), 8080, 1000)
		if own != c.own || other != c.other || err != nil {
			t.Errorf("%s: got %t, %t, %v, want %t, %t", c.name, own, other, err, c.own, c.other)
		}
	}
	for _, table := range []string{tcpHeading + "nonsense\n", tcpHeading + strings.Replace(mine, "1000 ", "-1 ", 1), tcpHeading + mine[:40] + "\n"} {
		if _, _, err := owners(strings.NewReader(table), 8080, 1000); err == nil {
			t.Errorf("%q: got no error", table)
		}
	}
}

// The kernel's own tables.
func TestCheckOwner(t *testing.T) {
	for network, host := range map[string]string{"tcp4": "127.0.0.1", "tcp6": "::1", "tcp": ""} {
		l, err := net.Listen(network, net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ := net.SplitHostPort(l.Addr().String())
		port, _ := strconv.Atoi(text)
		a := address{kind: "port", port: port, own: true}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		got, err := a.dialOwn(ctx, &app{}, nil)
		want := strings.Replace(network+"4", "44", "4", 1)
		if network == "tcp6" {
			want = network
		}
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", network, got, err, want)
		}
		cancel()
		l.Close()
		if err := a.checkOwner(); !errors.Is(err, errNobody) {
			t.Errorf("%s, closed: got %v, want %v", network, err, errNobody)
		}
	}
}

func ownPort(c *exec.Cmd) {
	c.Args = append(c.Args[:7:7], append([]string{"-own-port"}, c.Args[7:]...)...)
}

func TestOwnPort(t *testing.T) {
	i := start(t, "slow", "port", ownPort)
	for range 3 {
		if _, _, err := i.get(); err != nil {
			t.Fatal(err)
		}
	}
	// An app that ends before is one that failed, as long as its port is free.
	i = start(t, "exit", "port", ownPort)
	i.refused(ingress.ClassExited, "exit status 3")
	i = start(t, "hang", "port", func(c *exec.Cmd) { ownPort(c); c.Args[4] = "200ms" })
	i.refused(ingress.ClassTimeout, "200ms")
	if got := i.ends(); got != exitTimeout {
		t.Errorf("got exit code %d, want %d", got, exitTimeout)
	}
}

// An app that closes its port for each connection sees callers alone; another one ends it.
func TestOwnPortAnew(t *testing.T) {
	i := start(t, "anew", "port", ownPort)
	for n := range 10 {
		_, environ, err := i.get()
		if got, want := environ["N"], strconv.Itoa(n+1); err != nil || got != want {
			t.Fatalf("got connection %q, %v, want %s", got, err, want)
		}
	}
}

// Once the app was found, nobody else is looked for at the other loopback address.
func TestPinnedFamily(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, text, _ := net.SplitHostPort(l.Addr().String())
	port, _ := strconv.Atoi(text)
	for network, want := range map[string]bool{"": true, "tcp6": true, "tcp4": false} {
		a := address{kind: "port", port: port, network: network}
		conn, _, err := a.knock(true)
		if got := err == nil; got != want {
			t.Errorf("pinned to %q: got %v, want connected %t", network, err, want)
		}
		if err == nil {
			conn.Close()
		}
	}
}

// A try that comes from the app's own port and so reaches itself leaves something
// behind; the app can bind its port all the same.
func TestTryFromTheSamePort(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	dialer := net.Dialer{LocalAddr: addr, Control: func(_, _ string, conn syscall.RawConn) error {
		var err error
		if cerr := conn.Control(func(fd uintptr) { err = shareAddress(int(fd)) }); cerr != nil {
			return cerr
		}
		return err
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp4", at)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // while it is there, and when it was closed
		l, err := net.Listen("tcp4", at)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		conn.Close()
	}
}

// Both ways to ask the kernel say the same.
func TestAskForOwners(t *testing.T) {
	for network, host := range map[string]string{"tcp4": "127.0.0.1", "tcp6": "::1", "tcp": ""} {
		l, err := net.Listen(network, net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		for _, c := range []struct {
			name       string
			uid        int
			listens    bool
			own, other bool
		}{
			{"mine", os.Getuid(), true, true, false},
			{"another's", os.Getuid() + 1, true, false, true},
			{"nobody's", os.Getuid(), false, false, false},
		} {
			if !c.listens {
				l.Close()
			}
			found, err := askForOwners(port, c.uid)
			if found.own != c.own || found.other != c.other || err != nil {
				t.Errorf("%s, %s: got %+v, %v, want %t, %t", network, c.name, found, err, c.own, c.other)
			}
			if want := strings.TrimSuffix(network, "tcp"); c.listens && found.network != want {
				t.Errorf("%s, %s: got %q, want %q", network, c.name, found.network, want)
			}
			own, other, err := readOwners(port, c.uid)
			if own != c.own || other != c.other || err != nil {
				t.Errorf("%s, %s, read: got %t, %t, %v, want %t, %t", network, c.name, own, other, err, c.own, c.other)
			}
		}
	}
}

func TestDiagOwnersMalformed(t *testing.T) {
	for _, answer := range [][]byte{
		{16, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},  // a message without a body
		{200, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, // longer than what came
		{4, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},   // shorter than its head
		{16, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},   // an error without a number
	} {
		if _, _, err := diagOwners(answer, 8080, 1000); !errors.Is(err, errDiagAnswer) {
			t.Errorf("%v: got %v, want %v", answer, err, errDiagAnswer)
		}
	}
}
