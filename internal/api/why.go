package api

import (
	"context"
	"net/http"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// whyLogTimeout bounds the reading of the last lines, without which there is still an
// answer.
const whyLogTimeout = 5 * time.Second

func (a *API) getWhy(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	why, err := a.instances.Why(id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), whyLogTimeout)
	defer cancel()
	lines := a.lastWords(ctx, why.Unit)
	answer := wire.Why{
		Instance: a.instance(why.Snapshot), Holds: why.Holds, DozeAt: why.DozeAt, SleepAt: why.SleepAt,
		WokenBy: why.WokenBy, WokenAt: why.WokenAt, Rested: why.Rested,
		CheckedAt: why.CheckedAt, FailedChecks: why.FailedChecks,
		Failures: why.Failures, NextTry: why.NextTry, Spent: why.Spent,
		ScheduledAt: why.ScheduledAt, Entry: why.Entry, Log: lines,
	}
	if answer.Holds == nil {
		answer.Holds = []tenant.Hold{}
	}
	a.reply(w, r, http.StatusOK, answer)
	return nil
}
