package api

import (
	"math"
	"net/http"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func (a *API) pauseInstance(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	return a.pause(w, r, id, id.String())
}

func (a *API) unpauseInstance(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	return a.unpause(w, r, id, id.String())
}

func (a *API) pauseService(w http.ResponseWriter, r *http.Request) error {
	service := r.PathValue("service")
	if err := tenant.CheckLabel("service", service); err != nil {
		return err
	}
	return a.pause(w, r, tenant.ID{Service: service}, service)
}

func (a *API) unpauseService(w http.ResponseWriter, r *http.Request) error {
	service := r.PathValue("service")
	if err := tenant.CheckLabel("service", service); err != nil {
		return err
	}
	return a.unpause(w, r, tenant.ID{Service: service}, service)
}

func (a *API) pause(w http.ResponseWriter, r *http.Request, id tenant.ID, name string) error {
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
	a.reply(w, r, http.StatusOK, wire.Pause{Name: name, Pause: p})
	return nil
}

func (a *API) unpause(w http.ResponseWriter, r *http.Request, id tenant.ID, name string) error {
	was, err := a.pauser.Unpause(r.Context(), id)
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, wire.Unpause{Name: name, Was: was})
	return nil
}
