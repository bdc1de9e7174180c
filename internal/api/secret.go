package api

import (
	"context"
	"net/http"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// Secrets knows and changes the secrets of instances, and of services by an ID without a
// name; *lifecycle.Manager has it. Errors for people are *tenant.Error. Nothing gives a
// secret's value.
type Secrets interface {
	Secrets(ctx context.Context, id tenant.ID) ([]tenant.Secret, error)
	SetSecret(ctx context.Context, id tenant.ID, name string, value []byte, env *bool) (s tenant.Secret, running int, err error)
	RemoveSecret(ctx context.Context, id tenant.ID, name string) (was bool, running int, err error)
}

func (a *API) listSecrets(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	list, err := a.secrets.Secrets(r.Context(), id)
	if err != nil {
		return err
	}
	out := wire.Secrets{Secrets: []wire.Secret{}}
	for _, s := range list {
		of := id
		if s.Service {
			of.Name = ""
		}
		out.Secrets = append(out.Secrets, wire.Secret{Name: s.Name, Env: s.Env, Of: owner(of), Changed: s.Changed})
	}
	a.reply(w, r, http.StatusOK, out)
	return nil
}

func (a *API) setSecret(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	var body wire.SecretRequest
	if err := readBody(w, r, &body); err != nil {
		return err
	}
	s, running, err := a.secrets.SetSecret(r.Context(), id, r.PathValue("secret"), body.Value, body.Env)
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, wire.SecretChange{Of: owner(id), Name: s.Name, Was: true, Running: running})
	return nil
}

func (a *API) removeSecret(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	name := r.PathValue("secret")
	was, running, err := a.secrets.RemoveSecret(r.Context(), id, name)
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, wire.SecretChange{Of: owner(id), Name: name, Was: was, Running: running})
	return nil
}
