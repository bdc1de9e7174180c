package wire

import (
	"time"

	"tenement.dev/internal/tenant"
)

// Domain is a host name that an instance was given.
type Domain struct {
	Host    string    `json:"host"`
	ID      tenant.ID `json:"id"`
	Created time.Time `json:"created"`
}

// Domains answers GET /api/v1/domains.
type Domains struct {
	Domains []Domain `json:"domains"`
}

// DomainRequest is the body of POST /api/v1/domains.
type DomainRequest struct {
	Host string `json:"host"`
	// ID is the instance's name, such as "notes:alice".
	ID string `json:"id"`
}
