package systemdtest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

// proxy is a bad line to the real bus: it passes messages on, but for those that drop
// chooses, and can stop to do so. Ahead of a message it sends what ahead gives for it.
type proxy struct {
	address string
	drop    func(*dbus.Message) bool
	ahead   func(*dbus.Message) *dbus.Message

	over chan struct{} // closed when the test is over

	mu      sync.Mutex // guards stalled
	stalled bool
}

// newProxy listens on a socket of its own, for the time of the test.
func newProxy(t *testing.T, drop func(*dbus.Message) bool) *proxy {
	t.Helper()
	return newProxyAhead(t, drop, func(*dbus.Message) *dbus.Message { return nil })
}

func newProxyAhead(t *testing.T, drop func(*dbus.Message) bool, ahead func(*dbus.Message) *dbus.Message) *proxy {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bus")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	noError(t, "listen", err)
	p := &proxy{address: "unix:path=" + path, drop: drop, ahead: ahead, over: make(chan struct{})}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			bus, err := (&net.Dialer{}).DialContext(t.Context(), "unix", busSocket())
			if err != nil {
				_ = client.Close()
				continue
			}
			mu.Lock()
			open = append(open, client, bus)
			mu.Unlock()
			wg.Go(func() { p.forth(bus, client) })
			wg.Go(func() { p.back(client, bus) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		close(p.over)
		mu.Lock()
		for _, conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return p
}

func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = true
}

// pass waits while nothing is passed on; it is false when the test is over.
func (p *proxy) pass() bool {
	p.mu.Lock()
	stalled := p.stalled
	p.mu.Unlock()
	if stalled {
		<-p.over
		return false
	}
	return true
}

func (p *proxy) forth(bus, client net.Conn) {
	defer bus.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := client.Read(buffer)
		if err != nil || !p.pass() {
			return
		}
		if _, err := bus.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) back(client, bus net.Conn) {
	defer client.Close()
	in := bufio.NewReader(bus)
	for line := ""; !strings.HasPrefix(line, "OK "); {
		var err error
		if line, err = in.ReadString('\n'); err != nil {
			return
		}
		if _, err := io.WriteString(client, line); err != nil {
			return
		}
	}
	for {
		// A message is passed on as it is: godbus could not write all that it can read.
		var raw bytes.Buffer
		message, err := dbus.DecodeMessage(io.TeeReader(in, &raw))
		if err != nil || !p.pass() {
			return
		}
		if p.drop(message) {
			continue
		}
		if first := p.ahead(message); first != nil {
			if err := first.EncodeTo(client, binary.LittleEndian); err != nil {
				return
			}
		}
		if _, err := raw.WriteTo(client); err != nil {
			return
		}
	}
}

// isSignal reports whether m is a signal of that name.
func isSignal(m *dbus.Message, member string) bool {
	return m.Type == dbus.TypeSignal && m.Headers[dbus.FieldMember].Value() == member
}
