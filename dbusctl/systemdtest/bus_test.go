package systemdtest

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"tenement.dev/dbusctl"
	"tenement.dev/units"
)

// testBusRestart: the bus dies under us, in each of the ways it can.
func testBusRestart(t *testing.T) {
	for _, how := range []struct {
		name string
		f    func(*testing.T)
	}{
		{"restart", func(t *testing.T) { systemctl(t, "restart", "dbus.service") }},
		{"kill", func(t *testing.T) { systemctl(t, "kill", "--signal=KILL", "dbus.service") }},
	} {
		t.Run(how.name, func(t *testing.T) {
			c, r := connect(t)
			_, wait := startHeld(t, c, r, 5)
			mark := r.mark()
			begin := time.Now()
			how.f(t)
			for _, err := range wait() {
				if !errors.Is(err, dbusctl.ErrDisconnected) {
					t.Errorf("a start over a lost connection: got %v, want %v", err, dbusctl.ErrDisconnected)
				}
			}
			if _, err := c.List(within(t, limit)); err != nil {
				t.Errorf("the first call after it: %v", err)
			}
			r.waitResync(t, mark)
			t.Logf("back after %v", time.Since(begin))
			livePair(t, c, r)
			if n := len(busConnections(t)); n != 1 {
				t.Errorf("the client has %d connections to the bus, want 1", n)
			}
		})
	}
}

// busConnections gives this process' connections to the bus, but for the one it asks
// with.
func busConnections(t *testing.T) []string {
	t.Helper()
	conn, err := dbus.Connect("unix:path=" + busSocket())
	noError(t, "connect", err)
	defer func() { _ = conn.Close() }()
	var others []string
	for _, name := range ownNames(t, conn) {
		if name != conn.Names()[0] {
			others = append(others, name)
		}
	}
	return others
}

// testBusGone: the bus is stopped. Calls wait, and after a while they go to the
// private socket.
func testBusGone(t *testing.T) {
	c, r := connect(t)
	stop := func() { systemctl(t, "stop", "dbus.socket", "dbus.service") }
	start := func() { systemctl(t, "start", "dbus.socket", "dbus.service") }
	defer start()

	mark := r.mark()
	stop()
	brief, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := c.List(brief); !errors.Is(err, dbusctl.ErrDisconnected) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call without a bus: got %v, want %v and the context's end", err, dbusctl.ErrDisconnected)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := c.List(within(t, limit))
		answered <- err
	}()
	start()
	noError(t, "a call that waited for the bus", <-answered)
	r.waitResync(t, mark)
	if n := len(busConnections(t)); n != 1 {
		t.Errorf("the client has %d connections to the bus, want 1", n)
	}

	mark = r.mark()
	stop()
	begin := time.Now()
	_, err := c.List(within(t, limit))
	noError(t, "a call that waited for the private socket", err)
	t.Logf("on the private socket after %v", time.Since(begin))
	r.waitResync(t, mark)
	livePair(t, c, r)
}

// TestAccessDenied: an ordinary user may look at the system's units, and no more.
func TestAccessDenied(t *testing.T) {
	if os.Getenv("TENEMENT_DBUSCTL_TEST_DENIED") == "" {
		runAsDev(t, "^TestAccessDenied$", "TENEMENT_DBUSCTL_TEST_DENIED=1")
		return
	}
	c, err := dbusctl.Dial(within(t, limit), dbusctl.Options{Prefix: units.Prefix})
	noError(t, "connect", err)
	defer c.Close()
	ctx := within(t, limit)
	if _, err := c.List(ctx, "*.service"); err != nil {
		t.Errorf("list: %v", err)
	}
	name := newName() + ".service"
	err1 := c.StartTransient(ctx, service(name, "true"))
	err2 := c.Stop(ctx, "dbus.service")
	for i, err := range []error{err1, err2} {
		if !errors.Is(err, dbusctl.ErrAccessDenied) {
			t.Errorf("%d: got %v, want %v", i, err, dbusctl.ErrAccessDenied)
		}
	}
}
