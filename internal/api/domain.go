package api

import (
	"net/http"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func (a *API) listDomains(w http.ResponseWriter, r *http.Request) error {
	list := wire.Domains{Domains: []wire.Domain{}}
	for _, d := range a.domains.Domains() {
		list.Domains = append(list.Domains, wire.Domain(d))
	}
	a.reply(w, r, http.StatusOK, list)
	return nil
}

func (a *API) addDomain(w http.ResponseWriter, r *http.Request) error {
	var body wire.DomainRequest
	if err := readBody(w, r, &body); err != nil {
		return err
	}
	id, err := tenant.ParseID(body.ID)
	if err != nil {
		return err
	}
	who(r).about = id
	d, added, err := a.domains.AddDomain(r.Context(), body.Host, id)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if added {
		status = http.StatusCreated
	}
	a.reply(w, r, status, wire.Domain(d))
	return nil
}

func (a *API) removeDomain(w http.ResponseWriter, r *http.Request) error {
	if err := a.domains.RemoveDomain(r.Context(), r.PathValue("host")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
