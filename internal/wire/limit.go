package wire

import "tenement.dev/internal/tenant"

// Limits answers GET and POST /api/v1/instances/{id}/limits.
type Limits struct {
	ID    tenant.ID    `json:"id"`
	State tenant.State `json:"state"`
	// Limits has all limits, whether they are set or not.
	Limits []LimitValue `json:"limits"`
	Usage  Usage        `json:"usage"`
	// StorageEnforced: the file system enforces the limit of storage; otherwise the data
	// is measured, and an instance that is over it is stopped.
	StorageEnforced bool `json:"storage_enforced"`
}

// LimitValue is one limit as it holds for an instance. Memory and storage are in bytes,
// cpu-quota in percent of one CPU, cpu-shares and io-weight are weights of 1 to 10000,
// tasks are threads, nofile open files.
type LimitValue struct {
	Limit tenant.Limit `json:"limit"`
	// Value is 0 for no bound.
	Value int64 `json:"value"`
	// From is "instance", "service" or "default".
	From tenant.LimitSource `json:"from"`
	// Pending: the instance runs with another value until its next start.
	Pending bool `json:"pending,omitempty"`
}

// Usage is what an instance uses at one moment. What is not known is missing, which
// most is while it does not run.
type Usage struct {
	Memory  *int64   `json:"memory,omitempty"` // bytes
	Tasks   *int64   `json:"tasks,omitempty"`
	CPUMS   *float64 `json:"cpu_ms,omitempty"`  // since its start
	Storage *int64   `json:"storage,omitempty"` // bytes
}

// LimitRequest is the body of POST /api/v1/instances/{id}/limits.
type LimitRequest struct {
	// Set has the instance's own values, 0 for no bound.
	Set tenant.Limits `json:"set,omitempty"`
	// Reset lists limits for which the service's values are to hold again; ResetAll is
	// all of them.
	Reset    []tenant.Limit `json:"reset,omitempty"`
	ResetAll bool           `json:"reset_all,omitempty"`
}
