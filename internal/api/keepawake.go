package api

import (
	"context"
	"math"
	"net/http"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func (a *API) keepAwake(w http.ResponseWriter, r *http.Request, id tenant.ID) error {
	var body wire.KeepAwakeRequest
	if err := readBody(w, r, &body); err != nil {
		return err
	}
	if body.ForMS < 0 || body.ForMS > math.MaxInt64/int64(time.Millisecond) {
		return invalid("for_ms is no duration", "0 ends all leases", nil)
	}
	return a.wakeWith(w, r, id, func(ctx context.Context, id tenant.ID) (tenant.Snapshot, error) {
		return a.keeper.KeepAwake(ctx, id, time.Duration(body.ForMS)*time.Millisecond)
	})
}
