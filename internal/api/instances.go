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

func (a *API) listInstances(w http.ResponseWriter, r *http.Request) error {
	service := r.URL.Query().Get("service")
	if r.URL.Query().Has("service") {
		if err := tenant.CheckLabel("service", service); err != nil {
			return err
		}
	}
	list := wire.Instances{Instances: []wire.Instance{}}
	for _, s := range a.instances.List() {
		if service == "" || s.ID.Service == service {
			list.Instances = append(list.Instances, a.instance(s))
		}
	}
	if service != "" && len(list.Instances) == 0 {
		if err := a.instances.CheckService(service); err != nil {
			return err
		}
	}
	a.reply(w, r, http.StatusOK, list)
	return nil
}

func (a *API) getInstance(w http.ResponseWriter, r *http.Request) error {
	s, err := a.named(r)
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

func (a *API) wakeInstance(w http.ResponseWriter, r *http.Request) error {
	return a.wakeWith(w, r, a.operator.Wake)
}

func (a *API) restartInstance(w http.ResponseWriter, r *http.Request) error {
	return a.wakeWith(w, r, a.operator.Restart)
}

func (a *API) stopInstance(w http.ResponseWriter, r *http.Request) error {
	id, err := tenant.ParseID(r.PathValue("id"))
	if err != nil {
		return err
	}
	s, err := a.operator.Stop(r.Context(), id)
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, wire.Outcome{Instance: a.instance(s)})
	return nil
}

func (a *API) destroyInstance(w http.ResponseWriter, r *http.Request) error {
	id, err := tenant.ParseID(r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := a.operator.Destroy(r.Context(), id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// named gives the instance that the path names.
func (a *API) named(r *http.Request) (tenant.Snapshot, error) {
	id, err := tenant.ParseID(r.PathValue("id"))
	if err != nil {
		return tenant.Snapshot{}, err
	}
	return a.instances.Get(id)
}
