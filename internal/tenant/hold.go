package tenant

import (
	"fmt"
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
	// HoldLease: its app, or an operator, wants it awake until a given time.
	HoldLease HoldKind = "lease"
	// HoldCPU: it uses the CPU without a request.
	HoldCPU HoldKind = "cpu"
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
	// Holder is who has a lease.
	Holder Holder `json:"holder,omitempty"`
	// Cores is how much of the CPU it used when that was last looked at, 1 being a core.
	Cores float64 `json:"cores,omitempty"`
	// Waits is for what share of that time it waited for the CPU and did not get it.
	Waits float64 `json:"waits,omitempty"`
}

// Holder is who has a lease on an instance's being awake.
type Holder string

// The holders of leases.
const (
	HolderApp      Holder = "app"
	HolderOperator Holder = "operator"
)

// Lease keeps an instance from resting until it ends or is given back.
type Lease struct {
	Holder Holder    `json:"holder"`
	Until  time.Time `json:"until"`
}

// String says it for people; the end of the hold is not in it.
func (h Hold) String() string {
	switch h.Kind {
	case HoldRequests:
		return plural(h.Count, "request") + " in flight"
	case HoldStreams:
		return "traffic on " + plural(h.Count, "stream")
	case HoldLease:
		return "a keep-awake lease of the " + string(h.Holder)
	case HoldCPU:
		text := fmt.Sprintf("it uses %.0f %% of a core", 100*h.Cores)
		if h.Waits > 0.5 {
			text += fmt.Sprintf(", and waits for more %.0f %% of the time", 100*h.Waits)
		}
		return text
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
