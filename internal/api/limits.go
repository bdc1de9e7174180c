package api

import (
	"context"
	"net/http"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// Limiter knows and changes the limits of instances; *lifecycle.Manager has it. Errors
// for people are *tenant.Error.
type Limiter interface {
	Limits(ctx context.Context, id tenant.ID) (tenant.LimitReport, error)
	SetLimits(ctx context.Context, id tenant.ID, change tenant.LimitChange) (tenant.LimitReport, error)
}

func (a *API) getLimits(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	report, err := a.limiter.Limits(r.Context(), id)
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, limits(report))
	return nil
}

func (a *API) setLimits(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	var body wire.LimitRequest
	if err := readBody(w, r, &body); err != nil {
		return err
	}
	change := tenant.LimitChange{Set: body.Set, Reset: body.Reset, ResetAll: body.ResetAll}
	if len(change.Set) == 0 && len(change.Reset) == 0 && !change.ResetAll {
		return invalid("nothing is to be changed", `send {"set":{"memory":536870912}}, {"reset":["memory"]} or {"reset_all":true}`, nil)
	}
	if err := change.Check(); err != nil {
		return err
	}
	report, err := a.limiter.SetLimits(r.Context(), id, change)
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, limits(report))
	return nil
}

// limits is a report as the API has it.
func limits(r tenant.LimitReport) wire.Limits {
	known := func(v int64) *int64 {
		if v < 0 {
			return nil
		}
		return &v
	}
	out := wire.Limits{
		ID: r.ID, State: r.State, StorageEnforced: r.StorageEnforced,
		Usage: wire.Usage{Memory: known(r.Usage.Memory), Tasks: known(r.Usage.Tasks), Storage: known(r.Usage.Storage)},
	}
	if r.Usage.CPUTime >= 0 {
		ms := float64(r.Usage.CPUTime/1e3) / 1e3
		out.Usage.CPUMS = &ms
	}
	for _, v := range r.Limits {
		out.Limits = append(out.Limits, wire.LimitValue(v))
	}
	return out
}
