package client

import (
	"context"
	"net/http"

	"tenement.dev/internal/wire"
)

// Reload has the daemon read its configuration again. A fault in it is a *tenant.Error
// whose Log has a line for each.
func (c *Client) Reload(ctx context.Context) (out wire.Reload, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	_, err = c.ask(ctx, http.MethodPost, "/reload", nil, &out)
	return out, err
}
