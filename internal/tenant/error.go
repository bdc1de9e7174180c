package tenant

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Code says what kind of failure an Error is; decisions are made on it, never on a
// text.
type Code string

// The kinds of failure.
const (
	// CodeInvalid: the request itself is malformed.
	CodeInvalid Code = "invalid"
	// CodeNotFound: no such service or instance.
	CodeNotFound Code = "not_found"
	// CodeNoServiceHost: the service does not answer at its own host name.
	CodeNoServiceHost Code = "no_service_host"
	// CodeConflict: the request does not fit what exists.
	CodeConflict Code = "conflict"
	// CodeLimit: a configured maximum is reached.
	CodeLimit Code = "limit"
	// CodeUnsupported: this machine, or this version, cannot do it.
	CodeUnsupported Code = "unsupported"
	// CodeStartFailed: the app exited, or could not be executed, before it accepted
	// a connection.
	CodeStartFailed Code = "start_failed"
	// CodeStartTimeout: the app did not accept a connection within startup_timeout.
	CodeStartTimeout Code = "start_timeout"
	// CodeFailed: the instance failed too often and is not started any more until
	// somebody asks for it.
	CodeFailed Code = "failed"
	// CodeUnavailable: the instance cannot serve now but may later.
	CodeUnavailable Code = "unavailable"
	// CodePaused: an operator has paused the instance or its service.
	CodePaused Code = "paused"
	// CodeInternal: everything else.
	CodeInternal Code = "internal"
)

// Error is a failure with a text for people and a cause for the log.
type Error struct {
	Code Code
	// Op is what was attempted, such as "load" or "wake".
	Op string
	ID ID
	// Msg is one line for people; Hint is one line of what to do about it.
	Msg, Hint string
	// Public is what every visitor of the site may be told, empty for nothing.
	Public string
	// Log holds the last lines that the instance printed, where they explain it.
	Log []string
	// RetryAfter is when trying again makes sense, 0 where that is not known.
	RetryAfter time.Duration
	// Err is the cause; it goes to the log and not to people.
	Err error
}

// Error gives the text for the log: operation, instance, message and cause.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op)
		if !e.ID.IsZero() {
			b.WriteString(" " + e.ID.String())
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Msg)
	if e.Err != nil {
		if e.Msg != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrNoPort is the cause where port_range has no port for an instance: of all CodeLimit errors it
// is the one that no client has brought about.
var ErrNoPort = errors.New("no port is left")

// NoInstance is the error about an instance that there is not. Its hint is for who types commands and for who writes programs.
func NoInstance(op string, id ID) *Error {
	return &Error{
		Code: CodeNotFound, Op: op, ID: id,
		Msg:  fmt.Sprintf("there is no instance %s", id),
		Hint: fmt.Sprintf("`ten ps` lists those that there are; `ten spawn %s` creates it (in the API, POST /api/v1/instances)", id),
	}
}

// CodeOf gives the code of the first *Error in err's chain, or CodeInternal; for a
// nil err it is the empty code.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
