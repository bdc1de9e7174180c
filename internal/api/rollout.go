package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// maxRolloutPause bounds the pause that a rollout may ask for.
const maxRolloutPause = 24 * time.Hour

func (a *API) getRollout(w http.ResponseWriter, r *http.Request) error {
	status, err := a.rollouts.Status(r.Context(), r.PathValue("service"))
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusOK, rollout(status))
	return nil
}

func (a *API) beginRollout(w http.ResponseWriter, r *http.Request) error {
	var body wire.RolloutRequest
	if err := readBody(w, r, &body); err != nil {
		return err
	}
	if body.PauseMS < 0 || body.PauseMS > float64(maxRolloutPause/time.Millisecond) {
		return invalid(fmt.Sprintf("a pause of %v ms is not possible", body.PauseMS), fmt.Sprintf("use up to %v", maxRolloutPause), nil)
	}
	status, err := a.rollouts.Begin(r.Context(), r.PathValue("service"), body.Release, tenant.RolloutPlan{
		Canary: body.Canary, CanaryPercent: body.CanaryPercent, Batch: body.Batch,
		Pause: time.Duration(body.PauseMS * float64(time.Millisecond)),
	})
	if err != nil {
		return err
	}
	a.reply(w, r, http.StatusCreated, rollout(status))
	return nil
}

// orderRollout answers the request for an order.
func (a *API) orderRollout(order string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		status, err := a.rollouts.Order(r.Context(), r.PathValue("service"), order)
		if err != nil {
			return err
		}
		a.reply(w, r, http.StatusOK, rollout(status))
		return nil
	}
}

// followRollout answers with a line of JSON per event, until the rollout is over.
func (a *API) followRollout(w http.ResponseWriter, r *http.Request) error {
	ctx, done, err := a.openStream(r)
	if err != nil {
		return err
	}
	defer done()
	defer endWrites(ctx, w)()
	flush := http.NewResponseController(w).Flush
	encoder := json.NewEncoder(w)
	for from, sent := 0, false; ; sent = true {
		list, next, status, err := a.rollouts.Follow(ctx, r.PathValue("service"), from)
		switch {
		case ctx.Err() != nil:
			return nil // nobody listens any more, or nobody shall
		case err != nil && !sent:
			return err
		case err != nil:
			code, public, _ := describe(err)
			a.logFailure(r, code, err)
			_ = encoder.Encode(wire.RolloutLine{Error: &public}) // or the client has gone
			return nil
		}
		if !sent {
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		from = next
		for _, event := range list {
			if err := encoder.Encode(wire.RolloutLine{Event: &event}); err != nil {
				return nil // the client has gone
			}
		}
		if len(list) == 0 { // it is over, and all has been told
			last := rollout(status)
			_ = encoder.Encode(wire.RolloutLine{Rollout: &last})
			return nil
		}
		if err := flush(); err != nil {
			return nil
		}
	}
}

func rollout(r tenant.Rollout) wire.Rollout {
	return wire.Rollout{
		Service: r.Service, Release: r.Release, Previous: r.Previous, State: r.State, Reason: r.Reason,
		Instances: r.Instances, Changed: r.Changed, Pending: r.Pending, Begun: r.Begun, Ended: r.Ended,
		Plan: wire.RolloutPlan{
			Canary: r.Plan.Canary, CanaryPercent: r.Plan.CanaryPercent, Batch: r.Plan.Batch,
			PauseMS: float64(r.Plan.Pause) / float64(time.Millisecond),
		},
	}
}
