package wire

import "tenement.dev/internal/tenant"

// PauseRequest is the body of POST /api/v1/instances/{id}/pause and
// /api/v1/services/{service}/pause.
type PauseRequest struct {
	// Message is what visitors are told, one line of text.
	Message string `json:"message,omitempty"`
	// ForMS is after how long the pause ends by itself, 0 for never.
	ForMS int64 `json:"for_ms,omitempty"`
}

// Pause answers it.
type Pause struct {
	// Name is the instance's, or the service's.
	Name string `json:"name"`
	tenant.Pause
}

// Unpause answers DELETE of the same.
type Unpause struct {
	Name string `json:"name"`
	// Was is false where nothing was paused.
	Was bool `json:"was"`
}
