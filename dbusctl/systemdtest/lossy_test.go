package systemdtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"tenement.dev/dbusctl"
	"tenement.dev/units"
)

// testLossy: the end of a job is never announced. Its waiters ask.
func testLossy(t *testing.T) {
	p := newProxy(t, func(m *dbus.Message) bool { return isSignal(m, "JobRemoved") })
	t.Setenv(busVariable(), p.address)
	c, r := connect(t)
	ctx := within(t, limit)

	good, bad, stopped := newName()+".service", newName()+".service", newName()+".service"
	removeAfter(t, good, bad, stopped)
	begin := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.StartTransient(ctx, service(good, "exec sleep 1000")); err != nil {
			t.Errorf("a start: %v", err)
		}
	})
	wg.Go(func() {
		var job *dbusctl.JobError
		if err := c.StartTransient(ctx, oneshot(bad, "exit 1")); !errors.As(err, &job) || job.Result != dbusctl.ResultUnknown {
			t.Errorf("a start that fails: got %v, want the result %q", err, dbusctl.ResultUnknown)
		}
	})
	wg.Wait()
	took := time.Since(begin)
	t.Logf("two starts took %v", took)

	// A reload is a reason to ask at once.
	mark := r.mark()
	wg.Go(func() {
		if err := c.StartTransient(ctx, service(stopped, "exec sleep 1000")); err != nil {
			t.Errorf("a start: %v", err)
		}
	})
	r.waitState(t, mark, stopped, "active")
	systemctl(t, "daemon-reload")
	r.waitResync(t, mark)
	begin = time.Now()
	wg.Wait()
	if after := time.Since(begin); after > took/2 {
		t.Errorf("after a reload was heard of it took %v, without one %v", after, took)
	}
	// The cleanup of removeAfter stops them over the same line.
}

// testOwnerHeardEarly: that the manager comes to the bus is heard while the client
// connects, as after a restart of the bus. That is a part of connecting: it is told to no
// reader, whom it would have looking at everything a second time.
func testOwnerHeardEarly(t *testing.T) {
	var told atomic.Int32
	p := newProxyAhead(t, func(*dbus.Message) bool { return false }, func(m *dbus.Message) *dbus.Message {
		owner, ok := ownerReply(m)
		if !ok {
			return nil
		}
		told.Add(1)
		body := []any{"org.freedesktop.systemd1", "", owner}
		return &dbus.Message{
			Type: dbus.TypeSignal,
			Headers: map[dbus.HeaderField]dbus.Variant{
				dbus.FieldSender:    dbus.MakeVariant("org.freedesktop.DBus"),
				dbus.FieldPath:      dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/DBus")),
				dbus.FieldInterface: dbus.MakeVariant("org.freedesktop.DBus"),
				dbus.FieldMember:    dbus.MakeVariant("NameOwnerChanged"),
				dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(body...)),
			},
			Body: body,
		}
	})
	t.Setenv(busVariable(), p.address)
	c, r := connect(t)
	livePair(t, c, r)
	if got := told.Load(); got != 1 {
		t.Errorf("the client was told %d times, want once", got)
	}
	seen, _ := r.events()
	if slices.Contains(seen, units.UnitState{}) {
		t.Errorf("a resync among %v", seen)
	}
}

// ownerReply gives the unique name in a reply to GetNameOwner. That in a reply to Hello is
// the receiver's own.
func ownerReply(m *dbus.Message) (owner string, ok bool) {
	if m.Type != dbus.TypeMethodReply || m.Headers[dbus.FieldSender].Value() != "org.freedesktop.DBus" || len(m.Body) != 1 {
		return "", false
	}
	owner, _ = m.Body[0].(string)
	return owner, strings.HasPrefix(owner, ":") && m.Headers[dbus.FieldDestination].Value() != owner
}

// testStalled: the other side reads no more, and says nothing.
func testStalled(t *testing.T) {
	p := newProxy(t, func(*dbus.Message) bool { return false })
	t.Setenv(busVariable(), p.address)
	c, _ := connect(t)
	p.stall()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	big := strings.Repeat("x", 64<<10) // 90 of them are more than a socket holds
	begin := time.Now()
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			u := service(newName()+".service", big)
			if err := c.StartTransient(ctx, u); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the context's end", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(begin); took > limit {
		t.Errorf("the callers came back after %v", took)
	}
	// The cleanup of connect ends Run with writers still blocked.
}
