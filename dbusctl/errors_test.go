package dbusctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"
)

func TestWrap(t *testing.T) {
	reply := func(name, text string) error { return dbus.Error{Name: name, Body: []any{text}} }
	kinds := []error{ErrUnitExists, ErrNoSuchUnit, ErrUnknownProperty, ErrAccessDenied, ErrDisconnected, context.DeadlineExceeded}
	for _, test := range []struct {
		err  error
		kind error
		text string
	}{
		{reply("org.freedesktop.systemd1.UnitExists", "Unit x was already loaded."), ErrUnitExists, "start x: Unit x was already loaded."},
		{reply("org.freedesktop.systemd1.NoSuchUnit", "Unit x not loaded."), ErrNoSuchUnit, "start x: Unit x not loaded."},
		{reply("org.freedesktop.DBus.Error.PropertyReadOnly", "Cannot set P."), ErrUnknownProperty, "start x: Cannot set P."},
		{reply("org.freedesktop.DBus.Error.AccessDenied", "No."), ErrAccessDenied, "start x: No."},
		{reply("org.freedesktop.DBus.Error.NoReply", "Gone."), ErrDisconnected, "start x: Gone."},
		{reply("org.freedesktop.DBus.Error.InvalidArgs", "UnitExists"), nil, "start x: UnitExists"},
		{io.EOF, ErrDisconnected, "start x: not connected to systemd: EOF"},
		{dbus.ErrClosed, ErrDisconnected, "start x: not connected to systemd: dbus: connection closed by user"},
		{ErrDisconnected, ErrDisconnected, "start x: not connected to systemd"},
		{context.DeadlineExceeded, context.DeadlineExceeded, "start x: context deadline exceeded"},
		{&valueError{"no"}, nil, "start x: no"},
	} {
		got := wrap("start", "x", test.err)
		if got.Error() != test.text {
			t.Errorf("%T: got the text %q, want %q", test.err, got, test.text)
		}
		for _, kind := range kinds {
			if is, want := errors.Is(got, kind), errors.Is(test.kind, kind); is != want {
				t.Errorf("%q is %q: %v, want %v", got, kind, is, want)
			}
		}
	}
	if wrap("start", "x", nil) != nil {
		t.Error("no error became one")
	}
	// The wait for a connection that did not come.
	err := wrap("start", "x", fmt.Errorf("%w: %w", ErrDisconnected, context.DeadlineExceeded))
	if !errors.Is(err, ErrDisconnected) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v does not tell both reasons", err)
	}
}

func TestUnsent(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{dbus.ErrClosed, true},
		{&net.OpError{Op: "write", Err: syscall.EPIPE}, true},
		{dbus.Error{Name: errServiceUnknown}, true},
		{dbus.Error{Name: errNameHasNoOwner}, true},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, false},
		{io.EOF, false},
		{dbus.Error{Name: "org.freedesktop.DBus.Error.NoReply"}, false},
		{context.Canceled, false},
	} {
		if got := unsent(test.err); got != test.want {
			t.Errorf("unsent(%v) = %v, want %v", test.err, got, test.want)
		}
	}
}
