package tenant

import "time"

// Why is what is known about why an instance is in its state.
type Why struct {
	Snapshot
	// Holds keep a running instance from resting; without one it waits for DozeAt and
	// SleepAt, at which it rests if nothing happens until then. Zero is never. Where a
	// hold has no known end they count from now.
	Holds           []Hold
	DozeAt, SleepAt time.Time
	// CheckedAt is when the health of an awake instance was checked last, zero for never;
	// FailedChecks is how many checks in a row have failed.
	CheckedAt    time.Time
	FailedChecks int
	// WokenBy and WokenAt are of the latest wake, or of the adoption of what no daemon had woken.
	WokenBy Cause
	WokenAt time.Time
	// Rested says why it went to sleep, empty where that is not known.
	// Where it failed, Reason says how.
	Rested string
	// Failures counts those within the restart window; before NextTry it is not started,
	// and if it is spent not until somebody asks for it.
	Failures int
	NextTry  time.Time
	Spent    bool
	// ScheduledAt is when a schedule entry, Entry, wakes it next, zero for never.
	ScheduledAt time.Time
	Entry       string
}
