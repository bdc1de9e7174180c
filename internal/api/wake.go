package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// wakeWith answers a request that has an instance awake afterwards.
func (a *API) wakeWith(w http.ResponseWriter, r *http.Request, id tenant.ID, do func(context.Context, tenant.ID) (tenant.Snapshot, error)) error {
	outcome, err := a.waking(r.Context(), id, func() (tenant.Snapshot, error) { return do(r.Context(), id) })
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, outcome)
	return nil
}

// waking does what has an instance awake afterwards. Where the app does not start the
// error has the last lines of its log.
func (a *API) waking(ctx context.Context, id tenant.ID, do func() (tenant.Snapshot, error)) (wire.Outcome, error) {
	begun := time.Now()
	runSince := begun
	if before, err := a.instances.Get(id); err == nil && before.State == tenant.Waking {
		runSince = before.Since // a wake that do will join
	}
	s, err := do()
	if err != nil {
		return wire.Outcome{}, a.withLog(ctx, id, runSince, err)
	}
	outcome := wire.Outcome{Instance: a.instance(s)}
	if s.LastWake != nil && !s.LastWake.At.Before(begun) {
		outcome.Woke = outcome.LastWake
	}
	return outcome, nil
}

// withLog adds to the error of a start what the instance printed meanwhile.
func (a *API) withLog(ctx context.Context, id tenant.ID, since time.Time, err error) error {
	var e *tenant.Error
	if !errors.As(err, &e) || len(e.Log) > 0 {
		return err
	}
	switch e.Code {
	case tenant.CodeStartFailed, tenant.CodeStartTimeout, tenant.CodeFailed:
	default:
		return err
	}
	s, gerr := a.instances.Get(id)
	if gerr != nil {
		return err // it was not registered, so it has no log
	}
	told := *e
	told.Log = a.lastLines(ctx, s.Unit, since, e.Code == tenant.CodeFailed)
	return &told
}

// instance puts a snapshot on the wire.
func (a *API) instance(s tenant.Snapshot) wire.Instance {
	var weight *int
	if s.Weight.Set {
		weight = &s.Weight.N
	}
	return wire.Instance{
		Weight: weight, Paused: s.Paused, Release: s.Release, NextRelease: s.NextRelease,
		Health: s.Health, Restarts: s.Restarts,
		ID: s.ID, State: s.State, Reason: s.Reason, Armed: s.Armed, Failing: s.Failing, NoService: a.instances.CheckService(s.ID.Service) != nil,
		URL: a.url(s.ID), Unit: s.Unit, Port: s.Port,
		InFlight: s.InFlight, Created: s.Created, LastActive: s.LastActive, Since: s.Since,
		Storage: s.Storage, StorageLimit: s.StorageLimit,
		Wakes: s.Wakes, Thaws: s.Thaws, LastWake: wake(s.LastWake), Leases: s.Leases, Unwoken: s.Unwoken,
	}
}

func wake(w *tenant.Wake) *wire.Wake {
	if w == nil {
		return nil
	}
	return &wire.Wake{
		Kind: w.Kind, Cause: w.Cause, At: w.At,
		QueueMS: millis(w.Queue), LoadMS: millis(w.Load), UnitStartMS: millis(w.UnitStart),
		AppReadyMS: millis(w.AppReady), HealthMS: millis(w.Health), TotalMS: millis(w.Total),
	}
}

// millis is d in milliseconds, to the microsecond.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
