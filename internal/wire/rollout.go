package wire

import (
	"time"

	"tenement.dev/internal/tenant"
)

// Rollout tells of a service's latest rollout; tenant.Rollout explains it.
type Rollout struct {
	Service   string              `json:"service"`
	Release   string              `json:"release"`
	Previous  string              `json:"previous"`
	State     tenant.RolloutState `json:"state"`
	Reason    string              `json:"reason,omitempty"`
	Instances int                 `json:"instances"`
	Changed   int                 `json:"changed"`
	Pending   int                 `json:"pending"`
	Plan      RolloutPlan         `json:"plan"`
	Begun     time.Time           `json:"begun"`
	Ended     time.Time           `json:"ended,omitzero"`
}

// RolloutPlan is how a rollout goes about it.
type RolloutPlan struct {
	// Canary has the names of the instances that come first, CanaryPercent the share of all
	// that does.
	Canary        []string `json:"canary,omitempty"`
	CanaryPercent float64  `json:"canary_percent,omitempty"`
	// Batch is how many instances are restarted at a time, 0 for 5.
	Batch int `json:"batch"`
	// PauseMS is for how long the instances of a batch are watched before the next one.
	PauseMS float64 `json:"pause_ms"`
}

// RolloutRequest is the body of POST /api/v1/services/{service}/rollout.
type RolloutRequest struct {
	Release string `json:"release"`
	RolloutPlan
}

// RolloutLine is one line of the answer to GET /api/v1/services/{service}/rollout/events: an
// event; or, as the last line, what has become of the rollout, or why there are no more.
type RolloutLine struct {
	Event   *tenant.RolloutEvent `json:"event,omitempty"`
	Rollout *Rollout             `json:"rollout,omitempty"`
	Error   *Error               `json:"error,omitempty"`
}
