package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// Pause answers requests for an instance without it, or for all of a service where id has
// no name; d is after how long that ends by itself, 0 for never.
func (c *Client) Pause(ctx context.Context, id tenant.ID, message string, d time.Duration) (p wire.Pause, err error) {
	ctx, cancel := promptly(ctx)
	defer cancel()
	_, err = c.ask(ctx, http.MethodPost, pausePath(id), wire.PauseRequest{Message: message, ForMS: d.Milliseconds()}, &p)
	return p, err
}

// Unpause ends that.
func (c *Client) Unpause(ctx context.Context, id tenant.ID) (u wire.Unpause, err error) {
	ctx, cancel := promptly(ctx)
	defer cancel()
	_, err = c.ask(ctx, http.MethodDelete, pausePath(id), nil, &u)
	return u, err
}

func pausePath(id tenant.ID) string {
	if id.Name == "" {
		return "/services/" + url.PathEscape(id.Service) + "/pause"
	}
	return instancePath(id) + "/pause"
}
