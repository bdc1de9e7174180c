package wire

import (
	"time"

	"tenement.dev/internal/tenant"
)

// Why answers GET /api/v1/instances/{id}/why; tenant.Why explains the fields that it has
// of that.
type Why struct {
	Instance
	Holds        []tenant.Hold `json:"holds"`
	DozeAt       time.Time     `json:"doze_at,omitzero"`
	SleepAt      time.Time     `json:"sleep_at,omitzero"`
	CheckedAt    time.Time     `json:"checked_at,omitzero"`
	FailedChecks int           `json:"failed_checks,omitempty"`
	WokenBy      tenant.Cause  `json:"woken_by,omitempty"`
	WokenAt      time.Time     `json:"woken_at,omitzero"`
	Rested       string        `json:"rested,omitempty"`
	Failures     int           `json:"failures,omitempty"`
	NextTry      time.Time     `json:"next_try,omitzero"`
	Spent        bool          `json:"spent,omitempty"`
	ScheduledAt  time.Time     `json:"scheduled_at,omitzero"`
	Entry        string        `json:"schedule_entry,omitempty"`
	// Log has the last lines of the instance, as in Error.
	Log []string `json:"log,omitempty"`
}
