package units

import (
	"errors"

	"tenement.dev/internal/tenant"
)

// ErrExists is in the chain of an error when a unit's name is in use: loaded already,
// or with a file on disk.
var ErrExists = errors.New("unit exists")

// ErrNotLoaded is in the chain of an error when the manager does not know a unit.
var ErrNotLoaded = errors.New("no such unit")

// ErrDisconnected is in the chain of an error when the connection to the manager was
// lost, and whether the call had an effect is not known; or when there was none until the
// call's context ended.
var ErrDisconnected = errors.New("not connected to systemd")

// Unit is a unit to be created by StartTransientUnit: its full name and its
// properties in the order in which the manager shall apply them.
type Unit struct {
	Name       string
	Properties []Property
}

// Property is one unit property as org.freedesktop.systemd1(5) names it. Value has
// the Go type whose D-Bus signature the property wants: string for s, []string for
// as, uint64 for t, uint32 for u, int32 for i, bool for b, []byte for ay, and slices
// of structs such as Exec for arrays of structures.
type Property struct {
	Name  string
	Value any
}

// Exec is one command line of the property ExecStartEx, signature a(sasas).
type Exec struct {
	Path    string
	Argv    []string
	Options []string
}

// Listen is one address of a socket's property Listen, signature a(ss).
type Listen struct {
	Type    string // "Stream"
	Address string
}

// BindPath is one entry of BindPaths and BindReadOnlyPaths, signature a(ssbt).
type BindPath struct {
	Source, Destination string
	IgnoreMissing       bool
	Flags               uint64
}

// TemporaryFileSystem is one entry of the property of that name, signature a(ss).
type TemporaryFileSystem struct {
	Path, Options string
}

// Filter is a list with its sense, signature (bas): SystemCallFilter and
// RestrictAddressFamilies. Allow true means that only the named are permitted.
type Filter struct {
	Allow bool
	Names []string
}

// UnitState is what the manager says of one unit, in its own words.
type UnitState struct {
	Name        string
	Description string // only in listings
	Load        string // "loaded", "not-found", …
	Active      string // "active", "activating", "deactivating", "inactive", "failed"
	Sub         string // "running", "dead", "listening", …
	// Exit is, in events of a service, how it ended last, also where it runs again; if
	// that was not seen, only At is set.
	Exit Exit
}

// Exit is how a service's main process ended last.
type Exit struct {
	// Result is the service's Result property: "success", "exit-code", "signal",
	// "timeout", "oom-kill", "resources", …
	Result string
	// Code is the si_code of the main process (1 exited, 2 killed, 3 dumped), 0 if
	// there was none or the manager has not seen how it ended; Status its exit status or
	// signal.
	Code, Status int32
	// Said is the last that the main process has told of its status (sd_notify(3),
	// STATUS=): a tenant's word.
	Said string
	// At is when the service ended last, in nanoseconds of CLOCK_MONOTONIC, 0 for never.
	// Only hints have it.
	At int64
}

// ExitStatusSet is a set of exit statuses and signals, signature (aiai):
// SuccessExitStatus.
type ExitStatusSet struct {
	Statuses, Signals []int32
}

// Status is what the manager says of an instance.
type Status struct {
	ID tenant.ID
	// Doorbell is whether the socket listens.
	Doorbell bool
	// Active is the service's ActiveState: "inactive", "activating", "active",
	// "deactivating", "failed"; "inactive" also where it is not loaded.
	Active string
	// Exit is how it ended last, or why it is being stopped; only in hints, and where a
	// single instance that does not run was asked for.
	Exit Exit
}
