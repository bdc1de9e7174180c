package api

import (
	"fmt"
	"net/http"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// maxDeploy bounds the wait that a deployment may ask for.
const maxDeploy = time.Hour

func (a *API) weighInstance(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	var body wire.WeightRequest
	if err := readBody(w, r, &body); err != nil {
		return err
	}
	var weight tenant.Weight
	if body.Weight != nil {
		weight = tenant.Weight{N: *body.Weight, Set: true}
	}
	s, err := a.router.SetWeight(r.Context(), id, weight)
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, wire.Outcome{Instance: a.instance(s)})
	return nil
}

func (a *API) deployInstance(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	var body wire.DeployRequest
	if err := readBody(w, r, &body); err != nil {
		return err
	}
	timeout := time.Duration(body.TimeoutMS * float64(time.Millisecond))
	if timeout < 0 || timeout > maxDeploy {
		return invalid(fmt.Sprintf("a timeout of %v is not possible", timeout), fmt.Sprintf("use up to %v; 0 leaves it to the service", maxDeploy), nil)
	}
	var weight tenant.Weight
	if body.Weight != nil {
		weight = tenant.Weight{N: *body.Weight, Set: true}
	}
	var created bool
	outcome, err := a.waking(r.Context(), id, func() (s tenant.Snapshot, err error) {
		s, created, err = a.router.Deploy(r.Context(), id, weight, timeout)
		return s, err
	})
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	a.reply(w, r, status, outcome)
	return nil
}

func (a *API) routeService(w http.ResponseWriter, r *http.Request) error {
	var body wire.RouteRequest
	if err := readBody(w, r, &body); err != nil {
		return err
	}
	service := r.PathValue("service")
	var ids [2]tenant.ID
	for i, name := range []string{body.From, body.To} {
		id, err := tenant.ParseID(service + ":" + name)
		if err != nil {
			return err
		}
		ids[i] = id
	}
	who(r).about = ids[1]
	outcome, err := a.waking(r.Context(), ids[1], func() (tenant.Snapshot, error) {
		return a.router.Swap(r.Context(), ids[0], ids[1])
	})
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, outcome)
	return nil
}
