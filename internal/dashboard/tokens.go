package dashboard

import (
	"net/http"
	"net/url"
	"strings"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// tokens is what the page of them shows.
type tokens struct {
	Tokens []wire.Token
	// Made has the secret of one that was made just now: it is shown this once.
	Made *wire.NewToken
	Word string
	Own  string // the ID of the one who looks
}

func (d *Dashboard) tokens(r *http.Request, s *session) (tokens, error) {
	var got wire.Tokens
	err := d.ask(r, s.secret, http.MethodGet, "/tokens", nil, &got)
	return tokens{Tokens: got.Tokens, Word: s.word, Own: s.self.Token}, err
}

func (d *Dashboard) getTokens(w http.ResponseWriter, r *http.Request, s *session) error {
	all, err := d.tokens(r, s)
	if err != nil {
		return err
	}
	return d.show(w, http.StatusOK, "tokens", "page", s.view("Tokens", "tokens", all))
}

func (d *Dashboard) createToken(w http.ResponseWriter, r *http.Request, s *session) error {
	form := r.PostForm
	life, err := readDuration(form.Get("for"))
	if err != nil {
		return err
	}
	request := wire.TokenRequest{
		Tenant: strings.TrimSpace(form.Get("tenant")), Description: strings.TrimSpace(form.Get("description")), ForMS: life.Milliseconds(),
	}
	if form.Get("scope") == "tenant" && request.Tenant == "" {
		return invalid("a tenant's token needs the tenant's name", "write the name of its instances, such as alice")
	}
	if form.Get("scope") == "admin" {
		request.Tenant = ""
	}
	if request.Tenant != "" {
		for _, p := range form["allow"] {
			request.Allow = append(request.Allow, tenant.Permission(p))
		}
	}
	var made wire.NewToken
	if err := d.ask(r, s.secret, http.MethodPost, "/tokens", request, &made); err != nil {
		return err
	}
	all, err := d.tokens(r, s)
	if err != nil {
		return err
	}
	all.Made = &made
	return d.showTokens(w, r, s, all)
}

func (d *Dashboard) revokeToken(w http.ResponseWriter, r *http.Request, s *session) error {
	if err := d.ask(r, s.secret, http.MethodDelete, "/tokens/"+url.PathEscape(r.PathValue("token")), nil, nil); err != nil {
		return err
	}
	all, err := d.tokens(r, s)
	if statusOf(err) == http.StatusUnauthorized && err != nil {
		return d.again(w, r, "/sign-in") // it was his own
	}
	if err != nil {
		return err
	}
	return d.showTokens(w, r, s, all)
}

func (d *Dashboard) showTokens(w http.ResponseWriter, r *http.Request, s *session, all tokens) error {
	if fromHTMX(r) {
		return d.show(w, http.StatusOK, "tokens", "tokens", all)
	}
	return d.show(w, http.StatusOK, "tokens", "page", s.view("Tokens", "tokens", all))
}
