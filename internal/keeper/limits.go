package keeper

import (
	"context"
	"errors"
	"fmt"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// SetLimits changes limits of an instance; see lifecycle.Limiter. systemd keeps them as
// drop-ins of the transient unit, so that they survive a daemon-reload and go with it.
func (l *Local) SetLimits(ctx context.Context, id tenant.ID, limits tenant.Limits) error {
	if err := l.host.CheckLimits(id, limits); err != nil {
		return err
	}
	if quota, ok := limits[tenant.LimitStorage]; ok {
		if err := l.limitStorage(ctx, id, quota); err != nil {
			return err
		}
	}
	props := units.LimitProperties(limits)
	if len(props) == 0 {
		return nil
	}
	if others, err := l.isStranger(ctx, id); err != nil || others {
		return err
	}
	err := l.systemd.SetProperties(ctx, units.ServiceName(id), true, props)
	if err != nil && !errors.Is(err, units.ErrNotLoaded) {
		return fmt.Errorf("limit %s: %w", id, err)
	}
	return nil
}
