package client

import (
	"context"
	"net/http"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// Limits asks for the limits of an instance and what it uses. Where its data has to be
// measured that takes a while.
func (c *Client) Limits(ctx context.Context, id tenant.ID) (out wire.Limits, err error) {
	_, err = c.ask(ctx, http.MethodGet, instancePath(id)+"/limits", nil, &out)
	return out, err
}

// SetLimits changes an instance's own limits.
func (c *Client) SetLimits(ctx context.Context, id tenant.ID, change wire.LimitRequest) (out wire.Limits, err error) {
	_, err = c.ask(ctx, http.MethodPost, instancePath(id)+"/limits", change, &out)
	return out, err
}
