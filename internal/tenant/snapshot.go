package tenant

import "time"

// Snapshot is what is known of one instance at one moment.
type Snapshot struct {
	ID    ID    `json:"id"`
	State State `json:"state"`
	// Reason says why the instance is asleep, failed or not healthy, where there is
	// more to say than that it was idle.
	Reason string `json:"reason,omitempty"`
	// Armed says of an instance that sleeps that its sandbox is ready: a wake starts the
	// app and nothing else.
	Armed bool `json:"armed,omitempty"`
	// Health is what is known of an awake instance's health.
	Health Health `json:"health,omitempty"`
	// Restarts counts the times that the instance was started again after a failure,
	// since it was registered.
	Restarts int64 `json:"restarts"`
	// Unit is the service unit's name in systemd.
	Unit string `json:"unit"`
	// Port is the TCP port of an awake instance that has one on the host's network.
	Port int `json:"port,omitempty"`
	// InFlight counts requests that wait or are being answered, streams included.
	InFlight int `json:"in_flight"`
	// Release is the one that the instance runs with, or will start with, empty where its
	// service has none. NextRelease is that of its next start, where that is another.
	Release     string `json:"release,omitempty"`
	NextRelease string `json:"next_release,omitempty"`
	// Weight is the one that it was given, if any.
	Weight Weight `json:"-"`
	// Paused is the pause that holds, of the instance or of its service.
	Paused *Pause `json:"paused,omitempty"`
	// Created is when the instance was registered.
	Created time.Time `json:"created"`
	// LastActive is when the last request ended, or now while one is in flight.
	LastActive time.Time `json:"last_active,omitzero"`
	// Since is when the instance entered its state.
	Since time.Time `json:"since,omitzero"`
	// Wakes counts starts from sleep, Thaws wakes from doze, since the instance was
	// registered.
	Wakes int64 `json:"wakes"`
	Thaws int64 `json:"thaws"`
	// Leases are those that have not ended, the app's before the operator's.
	Leases []Lease `json:"leases,omitempty"`
	// Storage is how many bytes the data directory held when it was last looked at, 0
	// where it was not; StorageLimit is how many it may hold, 0 for no bound.
	Storage      int64 `json:"storage,omitempty"`
	StorageLimit int64 `json:"storage_limit,omitempty"`
	// Failing: it is asleep because it failed; its latest start did, or it is about to be
	// started again.
	Failing bool `json:"failing,omitempty"`
	// LastWake is the timing of the latest wake that is known.
	LastWake *Wake `json:"last_wake,omitempty"`
	// Unwoken counts, by the kind's name, the requests that found the instance at rest
	// and were answered without it, since the daemon started.
	Unwoken map[string]int64 `json:"unwoken,omitempty"`
	// Traffic is what it has served since the daemon started.
	Traffic Traffic `json:"-"`
}

// Glance is what is quickly told of an instance.
type Glance struct {
	State State
	// InFlight and LastActive are as in Snapshot.
	InFlight   int
	LastActive time.Time
}

// Health is how an awake instance does. Without a health path one that listens is
// healthy.
type Health string

// The values of Health.
const (
	Healthy   Health = "healthy"
	Degraded  Health = "degraded"  // the last check or two have failed
	Unhealthy Health = "unhealthy" // three or more have, and nothing is done about it
)

// WakeKind says from where an instance was woken.
type WakeKind string

// The kinds of wake.
const (
	WakeCold  WakeKind = "cold"  // from asleep
	WakeArmed WakeKind = "armed" // from asleep, with everything set up but the app
	WakeDoze  WakeKind = "doze"  // from dozing
)

// Wake is the timing of one wake by phase. The phases follow each other; Total is
// from the request for it to the moment the app could be given a connection.
type Wake struct {
	Kind WakeKind  `json:"kind"`
	At   time.Time `json:"at"`
	// Cause is what the instance was woken by.
	Cause Cause `json:"cause"`
	// Queue is the wait before anything was done: for a stop to finish, for a place.
	Queue time.Duration `json:"queue"`
	// Load is making the units known to the manager, 0 if they were.
	Load time.Duration `json:"load"`
	// UnitStart is from ringing the doorbell to the first instruction of ten-init:
	// systemd, the sandbox, exec.
	UnitStart time.Duration `json:"unit_start"`
	// AppReady is from there until the app accepted a connection.
	AppReady time.Duration `json:"app_ready"`
	// Health is the wait for the health endpoint to answer 200, 0 without one.
	Health time.Duration `json:"health"`
	Total  time.Duration `json:"total"`
}
