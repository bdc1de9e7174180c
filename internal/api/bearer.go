package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// Tokens knows who may use the API with a token; *auth.Tokens does. Errors for people are
// *tenant.Error.
type Tokens interface {
	// Look gives the token of a secret, if it is good; live ends when it is revoked.
	Look(secret string, now time.Time) (token tenant.Token, live context.Context, ok bool)
	// Failed counts a bad secret; wait is how long its sender is to hold back, first is
	// true when that begins.
	Failed(from netip.Addr, now time.Time) (wait time.Duration, first bool)
	List() []tenant.Token
	Create(ctx context.Context, want tenant.Token) (made tenant.Token, secret string, err error)
	Revoke(ctx context.Context, id string) error
}

// bearer finds out who makes a request by its token (RFC 6750, section 2.1). A good one
// is good however many bad ones come from the same address.
func (a *API) bearer(r *http.Request) (*principal, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return nil, &tenant.Error{
			Code: wire.CodeUnauthorized, Op: "admit",
			Msg:  "this needs a token",
			Hint: "send it in the header Authorization: Bearer ten_...; `ten token gen` makes one",
		}
	}
	now := time.Now()
	scheme, secret, _ := strings.Cut(header, " ")
	if strings.EqualFold(scheme, "Bearer") {
		if token, live, ok := a.tokens.Look(strings.TrimSpace(secret), now); ok {
			return &principal{
				actor: tenant.Actor("token " + token.ID), admin: token.Tenant == "", tenant: token.Tenant,
				allow: token.Allow, token: token.ID, expires: token.Expires, live: live,
			}, nil
		}
	}
	from := a.clientAddr(r)
	wait, first := a.tokens.Failed(from, now)
	if first {
		a.log.LogAttrs(r.Context(), slog.LevelWarn, "many bad tokens", slog.String("from", from.String()))
	}
	if wait > 0 {
		return nil, &tenant.Error{
			Code: tenant.CodeLimit, Op: "admit", RetryAfter: wait,
			Msg:  "too many bad tokens come from this address",
			Hint: "a good one is still taken",
		}
	}
	return nil, &tenant.Error{
		Code: wire.CodeUnauthorized, Op: "admit",
		Msg:  "this token is not good: it is unknown, revoked or expired",
		Hint: "`ten token gen` makes another one",
	}
}

// peerAddr is the address that a request comes from.
func peerAddr(r *http.Request) netip.Addr {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // a Unix socket
	}
	return addr.Addr().Unmap()
}
