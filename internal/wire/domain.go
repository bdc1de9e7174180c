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
	// Verified is when its DNS record was found, zero where nobody asked for one.
	Verified time.Time `json:"verified,omitzero"`
	// Pending is nil where the instance has the host name.
	Pending *Pending `json:"pending,omitempty"`
}

// Pending is what is to be done before an instance has a host name: a TXT record with the
// name Record has Token.
type Pending struct {
	Record string `json:"record"`
	Token  string `json:"token"`
	// Checked is when it was last looked for, zero for not yet, and Problem why that did
	// not do.
	Checked time.Time `json:"checked,omitzero"`
	Problem string    `json:"problem,omitempty"`
}

// Domains answers GET /api/v1/domains, and POST /api/v1/domains/HOST/verify with those of
// that host name.
type Domains struct {
	Domains []Domain `json:"domains"`
}

// DomainRequest is the body of POST /api/v1/domains.
type DomainRequest struct {
	Host string `json:"host"`
	// ID is the instance's name, such as "notes:alice".
	ID string `json:"id"`
	// Verify has the host name pending until its DNS record is there.
	Verify bool `json:"verify,omitempty"`
}
