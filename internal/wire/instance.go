package wire

import (
	"time"

	"tenement.dev/internal/tenant"
)

// Instance is one instance at one moment; tenant.Snapshot explains the fields that it
// has of that.
type Instance struct {
	ID     tenant.ID    `json:"id"`
	State  tenant.State `json:"state"`
	Reason string       `json:"reason,omitempty"`
	// Armed says of one that sleeps that its sandbox is ready, so that a wake starts the
	// app and nothing else.
	Armed bool `json:"armed,omitempty"`
	// Failing says of one that sleeps that this is because it failed.
	Failing bool `json:"failing,omitempty"`
	// NoService says that tenement.toml has no service of its name any more: no request wakes it.
	NoService bool `json:"no_service,omitempty"`
	// Health is of an awake instance.
	Health tenant.Health `json:"health,omitempty"`
	// Restarts counts the times that it was started again after a failure.
	Restarts int64 `json:"restarts"`
	// Log has the last lines of one that has failed, where one instance is asked for.
	Log []string `json:"log,omitempty"`
	// Paused is the pause that holds, of the instance or of its service.
	Paused *tenant.Pause `json:"paused,omitempty"`
	// URL is where the instance answers, empty if the daemon does not know.
	URL string `json:"url,omitempty"`
	// Unit is the service unit's name in systemd.
	Unit     string `json:"unit"`
	Port     int    `json:"port,omitempty"`
	InFlight int    `json:"in_flight"`
	// Release is empty where the service has none; NextRelease is that of the next start,
	// where that is another.
	Release     string `json:"release,omitempty"`
	NextRelease string `json:"next_release,omitempty"`
	// Weight is the instance's share of the requests for its service's own host name, 0
	// to 10000; missing where it was given none, which counts as 100.
	Weight     *int      `json:"weight,omitempty"`
	Created    time.Time `json:"created"`
	LastActive time.Time `json:"last_active,omitzero"`
	Since      time.Time `json:"since,omitzero"`
	Wakes      int64     `json:"wakes"`
	Thaws      int64     `json:"thaws"`
	LastWake   *Wake     `json:"last_wake,omitempty"`
	// Leases are those that keep it awake and have not ended.
	Leases []tenant.Lease `json:"leases,omitempty"`
	// Unwoken counts the requests that did not wake it, by no_wake's names.
	Unwoken map[string]int64 `json:"unwoken,omitempty"`
	// Storage is how many bytes of data it had when it was last looked at, which is done
	// where there is a limit; StorageLimit is that.
	Storage      int64 `json:"storage,omitempty"`
	StorageLimit int64 `json:"storage_limit,omitempty"`
}

// KeepAwakeRequest is the body of POST /api/v1/instances/{id}/keep-awake.
type KeepAwakeRequest struct {
	// ForMS is for how long, 0 to end all leases on the instance.
	ForMS int64 `json:"for_ms"`
}

// Wake is the timing of one wake; tenant.Wake explains the phases.
type Wake struct {
	Kind        tenant.WakeKind `json:"kind"`
	Cause       tenant.Cause    `json:"cause,omitempty"`
	At          time.Time       `json:"at"`
	QueueMS     float64         `json:"queue_ms"`
	LoadMS      float64         `json:"load_ms"`
	UnitStartMS float64         `json:"unit_start_ms"`
	AppReadyMS  float64         `json:"app_ready_ms"`
	HealthMS    float64         `json:"health_ms"`
	TotalMS     float64         `json:"total_ms"`
}

// Instances answers GET /api/v1/instances.
type Instances struct {
	Instances []Instance `json:"instances"`
	// Next is the cursor of the next page, empty on the last one.
	Next string `json:"next,omitempty"`
	// Counts is how many there are by state on all pages, whatever states were asked for.
	Counts map[tenant.State]int `json:"counts"`
}

// SpawnRequest is the body of POST /api/v1/instances.
type SpawnRequest struct {
	// ID is the instance's name, such as "notes:alice".
	ID string `json:"id"`
}

// Outcome answers a spawn, wake, stop, restart or keep-awake: the instance as it is afterwards.
type Outcome struct {
	Instance
	// Woke is the timing of the wake that the request made, nil if the instance was
	// awake already or somebody else's wake was joined.
	Woke *Wake `json:"woke,omitempty"`
}
