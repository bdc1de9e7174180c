package tenant

import (
	"fmt"
	"slices"
	"time"
)

// HoldKind says what keeps an instance from dozing and from sleeping.
type HoldKind string

// The kinds of hold.
const (
	// HoldRequests: requests wait or are being answered.
	HoldRequests HoldKind = "requests"
	// HoldStreams: data goes over a WebSocket or an event stream.
	HoldStreams HoldKind = "streams"
	// HoldConfig: its service has no timeout that applies in its state.
	HoldConfig HoldKind = "config"
	// HoldRetry: an attempt to rest has failed, and the next one is not due yet.
	HoldRetry HoldKind = "retry"
)

// Hold is one reason for which an instance does not rest now.
type Hold struct {
	Kind HoldKind `json:"kind"`
	// Count is how many requests or streams there are.
	Count int `json:"count,omitempty"`
	// Until is when the hold ends by itself, zero where that is not known.
	Until time.Time `json:"until,omitzero"`
}

// Work reports whether there is work that only an operator may interrupt; the other
// holds are a matter of configuration and timing.
func (h Hold) Work() bool { return h.Kind != HoldConfig && h.Kind != HoldRetry }

// Working reports whether one of holds is work.
func Working(holds []Hold) bool { return slices.ContainsFunc(holds, Hold.Work) }

// String says it for people; the end of the hold is not in it.
func (h Hold) String() string {
	switch h.Kind {
	case HoldRequests:
		return plural(h.Count, "request") + " in flight"
	case HoldStreams:
		return "traffic on " + plural(h.Count, "stream")
	case HoldConfig:
		return "no timeout of its service applies"
	case HoldRetry:
		return "the last attempt to let it rest has failed"
	}
	return string(h.Kind)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
