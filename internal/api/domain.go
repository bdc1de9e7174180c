package api

import (
	"net/http"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func (a *API) listDomains(w http.ResponseWriter, r *http.Request) error {
	a.reply(w, r, http.StatusOK, wireDomains(a.domains.Domains()))
	return nil
}

func (a *API) verifyDomain(w http.ResponseWriter, r *http.Request) error {
	list, err := a.domains.VerifyDomain(r.Context(), r.PathValue("host"))
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, wireDomains(list))
	return nil
}

func wireDomains(list []tenant.Domain) wire.Domains {
	out := wire.Domains{Domains: []wire.Domain{}}
	for _, d := range list {
		out.Domains = append(out.Domains, wireDomain(d))
	}
	return out
}

func wireDomain(d tenant.Domain) wire.Domain {
	out := wire.Domain{Host: d.Host, ID: d.ID, Created: d.Created, Verified: d.Verified}
	if d.Pending() {
		out.Pending = &wire.Pending{Record: d.Record(), Token: d.Token, Checked: d.Checked, Problem: d.Problem}
	}
	return out
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
	d, added, err := a.domains.AddDomain(r.Context(), body.Host, id, body.Verify)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if added {
		status = http.StatusCreated
	}
	a.reply(w, r, status, wireDomain(d))
	return nil
}

func (a *API) removeDomain(w http.ResponseWriter, r *http.Request) error {
	if err := a.domains.RemoveDomain(r.Context(), r.PathValue("host")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
