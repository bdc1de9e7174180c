package api

import (
	"math"
	"net/http"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func (a *API) pause(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	var body wire.PauseRequest
	if err := readBody(w, r, &body); err != nil {
		return err
	}
	if body.ForMS < 0 || body.ForMS > math.MaxInt64/int64(time.Millisecond) {
		return invalid("for_ms is no duration", "0 is for a pause without an end", nil)
	}
	p, err := a.pauser.Pause(r.Context(), id, body.Message, time.Duration(body.ForMS)*time.Millisecond)
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, wire.Pause{Name: owner(id), Pause: p})
	return nil
}

func (a *API) unpause(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	was, err := a.pauser.Unpause(r.Context(), id)
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, wire.Unpause{Name: owner(id), Was: was})
	return nil
}
