package tenant

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Token lets who has its secret use the management API.
type Token struct {
	// ID names the token; it is no secret.
	ID string
	// Hash is the SHA-256 of the secret, which nobody keeps.
	Hash [32]byte
	// Tenant is the name of the instances that the token is for, under every service;
	// empty for an admin's, which is for everything.
	Tenant string
	// Allow is what a tenant's token may do to its instances, beside looking at them.
	Allow       []Permission
	Description string
	Created     time.Time
	// Expires is when it ceases to be good, zero for never.
	Expires time.Time
	// Used is when it was last used, zero for never. It is written now and then only.
	Used time.Time
}

// Permission is what a tenant's token may be allowed.
type Permission string

// The permissions.
const (
	MayWake    Permission = "wake"
	MayRestart Permission = "restart"
)

// Permissions are all of them.
func Permissions() []Permission { return []Permission{MayRestart, MayWake} }

// MaxDescription bounds a token's description, in bytes.
const MaxDescription = 200

// Check reports what is wrong with a token that is to be made.
func (t Token) Check(now time.Time) error {
	wrong := func(msg, hint string) error {
		return &Error{Code: CodeInvalid, Op: "make token", Msg: msg, Hint: hint}
	}
	if t.Tenant != "" {
		if err := CheckLabel("instance", t.Tenant); err != nil {
			return err
		}
	}
	for _, p := range t.Allow {
		if !slices.Contains(Permissions(), p) {
			return wrong(fmt.Sprintf("%.40q cannot be allowed", p), "restart and wake can")
		}
	}
	switch {
	case t.Tenant == "" && len(t.Allow) > 0:
		return wrong("an admin's token is for everything", "name a tenant, or allow nothing")
	case len(t.Description) > MaxDescription || strings.ContainsFunc(t.Description, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return wrong("the description is too long, or not one line of text", fmt.Sprintf("use up to %d bytes", MaxDescription))
	case !t.Expires.IsZero() && !t.Expires.After(now):
		return wrong("a token cannot have expired before it is made", "use a time to come")
	}
	return nil
}

// Expired reports whether the token has ceased to be good.
func (t Token) Expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }
