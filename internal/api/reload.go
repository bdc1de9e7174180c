package api

import (
	"net/http"

	"tenement.dev/internal/wire"
)

func (a *API) postReload(w http.ResponseWriter, r *http.Request) error {
	path, unserved, err := a.reload(r.Context())
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, wire.Reload{Config: path, Unserved: unserved})
	return nil
}
