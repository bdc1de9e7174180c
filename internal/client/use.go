package client

import (
	"context"
	"net/http"
	"net/url"

	"tenement.dev/internal/wire"
)

// Use asks what was used in a month, such as "2026-11", or this one where it is empty: by
// one instance, by those of a service, or by all where both are empty.
func (c *Client) Use(ctx context.Context, month, service, instance string) ([]wire.DailyUse, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	query := url.Values{}
	for name, value := range map[string]string{"month": month, "service": service, "instance": instance} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var use wire.Use
	_, err := c.ask(ctx, http.MethodGet, "/usage?"+query.Encode(), nil, &use)
	return use.Days, err
}
