package dbusctl

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/godbus/dbus/v5"

	"tenement.dev/units"
)

// Kinds of failure, for errors.Is.
var (
	// ErrUnitExists: a unit of that name is loaded, or has a file. A failed unit stays
	// loaded until ResetFailed.
	ErrUnitExists = units.ErrExists
	// ErrNoSuchUnit: no unit of that name is loaded or can be.
	ErrNoSuchUnit = units.ErrNotLoaded
	// ErrUnknownProperty: this systemd does not know the property, or it cannot be set
	// that way.
	ErrUnknownProperty = errors.New("unknown property")
	// ErrAccessDenied: the caller lacks the privilege.
	ErrAccessDenied = errors.New("access denied")
	// ErrDisconnected: the connection was lost, and whether the call had an effect is
	// not known; or it was not there until the call's context ended.
	ErrDisconnected = units.ErrDisconnected
)

// Results of a job that did what it was for, and of one whose result was lost. The
// others are systemd's: "canceled", "timeout", "failed", "dependency", "skipped",
// "invalid", "assert", "unsupported", "collected", "once", "frozen".
const (
	resultDone     = "done"
	resultCanceled = "canceled"
	ResultUnknown  = "unknown"
)

// JobError is a job that did not end well.
type JobError struct {
	// Op is "start" or "stop".
	Op, Unit string
	// Result is the job's result in systemd's words, or ResultUnknown.
	Result string
}

// Error names the operation, the unit and the result.
func (e *JobError) Error() string {
	return fmt.Sprintf("%s %s: the job ended as %q", e.Op, e.Unit, e.Result)
}

// kinds gives for D-Bus error names what they mean here. Names, unlike texts, are API.
var kinds = map[string]error{
	"org.freedesktop.systemd1.UnitExists": ErrUnitExists,
	"org.freedesktop.systemd1.NoSuchUnit": ErrNoSuchUnit,

	"org.freedesktop.DBus.Error.PropertyReadOnly": ErrUnknownProperty,
	"org.freedesktop.DBus.Error.UnknownProperty":  ErrUnknownProperty,
	"org.freedesktop.DBus.Error.UnknownInterface": ErrUnknownProperty,

	"org.freedesktop.DBus.Error.AccessDenied":                     ErrAccessDenied,
	"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired": ErrAccessDenied,

	errServiceUnknown: ErrDisconnected,
	errNameHasNoOwner: ErrDisconnected,
	// The manager left the bus before it replied.
	"org.freedesktop.DBus.Error.NoReply":      ErrDisconnected,
	"org.freedesktop.DBus.Error.Disconnected": ErrDisconnected,
}

const (
	errServiceUnknown    = "org.freedesktop.DBus.Error.ServiceUnknown"
	errNameHasNoOwner    = "org.freedesktop.DBus.Error.NameHasNoOwner"
	errNoSuchProcess     = "org.freedesktop.systemd1.NoSuchProcess"
	errNoSuchJob         = "org.freedesktop.systemd1.NoSuchJob"
	errAlreadySubscribed = "org.freedesktop.systemd1.AlreadySubscribed"
)

// callError is a failed call: what was attempted, on what, the cause and its kind.
type callError struct {
	op, unit string
	cause    error
	kind     error // nil if it is none of the above
}

func (e *callError) Error() string {
	text := e.op
	if e.unit != "" {
		text += " " + e.unit
	}
	var reply dbus.Error
	if e.kind == nil || errors.As(e.cause, &reply) || errors.Is(e.cause, e.kind) {
		return text + ": " + e.cause.Error()
	}
	return text + ": " + e.kind.Error() + ": " + e.cause.Error()
}

func (e *callError) Unwrap() []error {
	if e.kind == nil {
		return []error{e.cause}
	}
	return []error{e.kind, e.cause}
}

// wrap says what was attempted on what. A failure that is neither the manager's answer
// nor the context's end is one of the connection.
func wrap(op, unit string, err error) error {
	if err == nil {
		return nil
	}
	e := &callError{op: op, unit: unit, cause: err}
	var bad *valueError
	if name := replyName(err); name != "" {
		e.kind = kinds[name]
	} else if !isContextError(err) && !errors.As(err, &bad) {
		e.kind = ErrDisconnected
	}
	return e
}

// replyName gives the name of the D-Bus error in err's chain, or nothing.
func replyName(err error) string {
	var reply dbus.Error
	if errors.As(err, &reply) {
		return reply.Name
	}
	return ""
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// unsent reports that the manager has not seen the call that failed with err. Of a
// message whose writing failed it has seen a part at most.
func unsent(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "write" || errors.Is(err, dbus.ErrClosed) {
		return true
	}
	name := replyName(err)
	return name == errServiceUnknown || name == errNameHasNoOwner
}

// valueError is a value that has no place in a message, or a reply of another type
// than the documented one.
type valueError struct{ text string }

func (e *valueError) Error() string { return e.text }
