package wire

import "tenement.dev/internal/tenant"

// Codes that exist in the API only, so that they are none of package tenant.
const (
	// CodeUnauthorized is of a request without a token, or with one that is not good.
	CodeUnauthorized tenant.Code = "unauthorized"
	// CodeForbidden is of one whose sender may not make it.
	CodeForbidden tenant.Code = "forbidden"
)

// Error is a failure in words for people, and a code for programs.
type Error struct {
	Code tenant.Code `json:"code"`
	// Message is one line of what is wrong, Hint one line of what to do about it.
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	// Log has the last lines that the instance printed, where they explain the failure.
	Log []string `json:"log,omitempty"`
}

// Failure is the body of every answer that is not 2xx.
type Failure struct {
	Error Error `json:"error"`
}
