package wire

import (
	"encoding/json"
	"time"

	"tenement.dev/internal/tenant"
)

// LogEntry is one entry of an instance's log. What a tenant printed is in it as it was
// printed, control characters included: who prints it to a terminal removes them.
type LogEntry struct {
	// ID is the instance, where several are asked for.
	ID      tenant.ID `json:"id,omitzero"`
	Time    time.Time `json:"time"`
	Message string    `json:"message"`
	// Priority is 0 (emergency) to 7 (debug), as in syslog(3).
	Priority   int    `json:"priority"`
	PID        int    `json:"pid,omitempty"`
	Identifier string `json:"identifier,omitempty"`
	// Manager is true for what systemd says about the instance.
	Manager bool `json:"manager,omitempty"`
	// Event is what happened, in an answer to GET /api/v1/history: as in GET /api/v1/events.
	Event json.RawMessage `json:"event,omitempty"`
	// Cursor is the entry's place in the journal.
	Cursor string `json:"cursor,omitempty"`
}

// LogLine is one line of the answer to GET /api/v1/logs, /api/v1/instances/{id}/logs and
// /api/v1/history:
// an entry, or, as the last line, why there are no more. Lines may be empty.
type LogLine struct {
	*LogEntry
	Error *Error `json:"error,omitempty"`
}
