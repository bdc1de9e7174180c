package api

import (
	"net/http"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func (a *API) getVersion(w http.ResponseWriter, r *http.Request) error {
	a.reply(w, r, http.StatusOK, a.version)
	return nil
}

func (a *API) getDoctor(w http.ResponseWriter, r *http.Request) error {
	checks, err := a.doctor(r.Context())
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, wire.Doctor{Checks: checks})
	return nil
}

func (a *API) getInstance(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	s, err := a.instances.Get(id)
	if err != nil {
		return err
	}
	inst := a.instance(s)
	if s.State == tenant.Failed {
		inst.Log = a.lastWords(r.Context(), s.Unit)
	}
	a.reply(w, r, http.StatusOK, inst)
	return nil
}

func (a *API) spawnInstance(w http.ResponseWriter, r *http.Request) error {
	var body wire.SpawnRequest
	if err := readBody(w, r, &body); err != nil {
		return err
	}
	id, err := tenant.ParseID(body.ID)
	if err != nil {
		return err
	}
	who(r).about = id
	var created bool
	outcome, err := a.waking(r.Context(), id, func() (s tenant.Snapshot, err error) {
		s, created, err = a.operator.Spawn(r.Context(), id)
		return s, err
	})
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		w.Header().Set("Location", Prefix+"/instances/"+id.String())
	}
	a.reply(w, r, status, outcome)
	return nil
}

func (a *API) wakeInstance(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	return a.wakeWith(w, r, id, a.operator.Wake)
}

func (a *API) restartInstance(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	return a.wakeWith(w, r, id, a.operator.Restart)
}

func (a *API) stopInstance(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	s, err := a.operator.Stop(r.Context(), id)
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, wire.Outcome{Instance: a.instance(s)})
	return nil
}

func (a *API) dozeInstance(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	s, err := a.keeper.Doze(r.Context(), id)
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, wire.Outcome{Instance: a.instance(s)})
	return nil
}

func (a *API) destroyInstance(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	if err := a.operator.Destroy(r.Context(), id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
