package tenant

import "time"

// RolloutState is where a rollout has got to.
type RolloutState string

// The states of a rollout. The first three are of one that goes on.
const (
	RolloutRunning RolloutState = "running"
	RolloutPaused  RolloutState = "paused"       // until somebody resumes it
	RolloutBack    RolloutState = "rolling-back" // instances get back what they had
	RolloutDone    RolloutState = "done"
	RolledBack     RolloutState = "rolled-back"
	RolloutAborted RolloutState = "aborted" // each instance has what it had at that moment
)

// Active reports whether a rollout in that state goes on.
func (s RolloutState) Active() bool {
	return s == RolloutRunning || s == RolloutPaused || s == RolloutBack
}

// RolloutPlan is how a rollout goes about it.
type RolloutPlan struct {
	// Canary are the names of the instances that come first, CanaryPercent the share of
	// all that does, in percent; without either there is no canary.
	Canary        []string `json:"canary,omitempty"`
	CanaryPercent float64  `json:"canary_percent,omitempty"`
	// Batch is how many instances are restarted at a time.
	Batch int `json:"batch"`
	// Pause is for how long the instances of a batch are watched before the next one.
	Pause time.Duration `json:"pause"`
}

// Rollout tells of a service's latest rollout.
type Rollout struct {
	Service string `json:"service"`
	// Release is the one that instances get, Previous the service's before.
	Release  string       `json:"release"`
	Previous string       `json:"previous"`
	Plan     RolloutPlan  `json:"plan"`
	State    RolloutState `json:"state"`
	// Reason says why it stands still, goes back or has ended, where there is more to say.
	Reason string `json:"reason,omitempty"`
	// Instances is how many there are, Changed how many of them have Release, and Pending
	// how many are being changed just now.
	Instances int       `json:"instances"`
	Changed   int       `json:"changed"`
	Pending   int       `json:"pending"`
	Begun     time.Time `json:"begun"`
	Ended     time.Time `json:"ended,omitzero"`
}

// RolloutEvent is one step of a rollout in words.
type RolloutEvent struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}
