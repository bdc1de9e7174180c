package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// getSelf tells a client who it is taken for.
func (a *API) getSelf(w http.ResponseWriter, r *http.Request) error {
	p := who(r)
	a.reply(w, r, http.StatusOK, wire.Self{
		Actor: p.actor, Admin: p.admin, Tenant: p.tenant, Allow: p.allow, Token: p.token, Expires: p.expires,
	})
	return nil
}

func (a *API) listTokens(w http.ResponseWriter, r *http.Request) error {
	a.reply(w, r, http.StatusOK, wire.Tokens{Tokens: WireTokens(a.tokens.List(), time.Now())})
	return nil
}

// WireTokens puts tokens on the wire.
func WireTokens(tokens []tenant.Token, now time.Time) []wire.Token {
	list := make([]wire.Token, len(tokens))
	for i, t := range tokens {
		list[i] = token(t, now)
	}
	return list
}

func (a *API) createToken(w http.ResponseWriter, r *http.Request) error {
	// A tenant that is there counts, also an empty one: without one it is an admin's.
	var body struct {
		wire.TokenRequest
		Tenant json.RawMessage `json:"tenant"`
	}
	if err := readBody(w, r, &body); err != nil {
		return err
	}
	want := body.TokenRequest
	if body.Tenant != nil {
		if err := json.Unmarshal(body.Tenant, &want.Tenant); err != nil || want.Tenant == "" {
			return invalid("tenant is not the name of instances", "leave it out for an admin's token", err)
		}
	}
	made, err := CreateToken(r.Context(), a.tokens, want)
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusCreated, made)
	return nil
}

// maxTokenLife bounds how long a token that expires can be good.
const maxTokenLife = 100 * 365 * 24 * time.Hour

// CreateToken makes the token that a request asks for.
func CreateToken(ctx context.Context, tokens Tokens, body wire.TokenRequest) (wire.NewToken, error) {
	now := time.Now()
	want := tenant.Token{Tenant: body.Tenant, Allow: body.Allow, Description: body.Description}
	if body.ForMS < 0 || body.ForMS > maxTokenLife.Milliseconds() {
		return wire.NewToken{}, invalid("for_ms is not how long a token can be good for", "use up to a hundred years, or 0 for ever", nil)
	}
	if body.ForMS > 0 {
		want.Expires = now.Add(time.Duration(body.ForMS) * time.Millisecond)
	}
	made, secret, err := tokens.Create(ctx, want)
	if err != nil {
		return wire.NewToken{}, err
	}
	return wire.NewToken{Token: token(made, now), Secret: secret}, nil
}

func (a *API) revokeToken(w http.ResponseWriter, r *http.Request) error {
	if err := a.tokens.Revoke(r.Context(), r.PathValue("token")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// token puts a token on the wire.
func token(t tenant.Token, now time.Time) wire.Token {
	return wire.Token{
		ID: t.ID, Tenant: t.Tenant, Allow: slices.Clone(t.Allow), Description: t.Description,
		Created: t.Created, Expires: t.Expires, Expired: t.Expired(now), Used: t.Used,
	}
}
