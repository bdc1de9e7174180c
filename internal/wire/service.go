package wire

import "tenement.dev/internal/tenant"

// Service is one service of the configuration, and what its instances do.
type Service struct {
	Name string `json:"name"`
	// Instances counts its instances by state; states that none is in are missing.
	Instances map[tenant.State]int `json:"instances"`
	InFlight  int                  `json:"in_flight"`
	// Paused is the pause of the service as a whole.
	Paused    *tenant.Pause    `json:"paused,omitempty"`
	Isolation tenant.Isolation `json:"isolation"`
	Network   tenant.Network   `json:"network"`
	// Release is the one that new instances get, empty where the service has none.
	Release string `json:"release,omitempty"`
	Health  string `json:"health,omitempty"`
	// IdleTimeoutMS and DozeTimeoutMS are missing for never.
	IdleTimeoutMS float64  `json:"idle_timeout_ms,omitempty"`
	DozeTimeoutMS float64  `json:"doze_timeout_ms,omitempty"`
	Schedule      []string `json:"schedule,omitempty"`
	OnDemand      bool     `json:"on_demand,omitempty"`
	// ServiceHost is whether its instances answer at its own host name.
	ServiceHost bool `json:"service_host"`
	// MaxInstances is missing for no limit.
	MaxInstances int `json:"max_instances,omitempty"`
}

// Services answers GET /api/v1/services, sorted by name.
type Services struct {
	Services []Service `json:"services"`
}
