package wire

import (
	"time"

	"tenement.dev/internal/tenant"
)

// Token is one token; nothing of its secret is in it.
type Token struct {
	ID string `json:"id"`
	// Tenant is the name of the instances that it is for, empty for an admin's.
	Tenant      string              `json:"tenant,omitempty"`
	Allow       []tenant.Permission `json:"allow,omitempty"`
	Description string              `json:"description,omitempty"`
	Created     time.Time           `json:"created"`
	// Expires is missing where it never does, Used where it never was.
	Expires time.Time `json:"expires,omitzero"`
	Expired bool      `json:"expired,omitempty"`
	Used    time.Time `json:"used,omitzero"`
}

// Tokens answers GET /api/v1/tokens.
type Tokens struct {
	Tokens []Token `json:"tokens"`
}

// TokenRequest is the body of POST /api/v1/tokens.
type TokenRequest struct {
	Tenant      string              `json:"tenant,omitempty"`
	Allow       []tenant.Permission `json:"allow,omitempty"`
	Description string              `json:"description,omitempty"`
	// ForMS is for how long it is good, 0 for ever.
	ForMS int64 `json:"for_ms,omitempty"`
}

// NewToken answers POST /api/v1/tokens.
type NewToken struct {
	Token
	// Secret is what its bearer sends. It is told here and never again.
	Secret string `json:"secret"`
}

// Self answers GET /api/v1/self: who the client is taken for.
type Self struct {
	Actor  tenant.Actor        `json:"actor"`
	Admin  bool                `json:"admin"`
	Tenant string              `json:"tenant,omitempty"`
	Allow  []tenant.Permission `json:"allow,omitempty"`
	// Token is the ID of its token, missing on the Unix socket.
	Token   string    `json:"token,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}
