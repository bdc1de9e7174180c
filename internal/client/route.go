package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// SetWeight gives an instance its share of the requests for its service's own host
// name; the zero Weight takes it away.
func (c *Client) SetWeight(ctx context.Context, id tenant.ID, w tenant.Weight) (out wire.Outcome, err error) {
	_, err = c.ask(ctx, http.MethodPost, instancePath(id)+"/weight", wire.WeightRequest{Weight: number(w)}, &out)
	return out, err
}

// Deploy has an instance ready, creates it if need be, and then gives it its weight.
func (c *Client) Deploy(ctx context.Context, id tenant.ID, w tenant.Weight, timeout time.Duration) (out wire.Outcome, created bool, err error) {
	body := wire.DeployRequest{Weight: number(w), TimeoutMS: float64(timeout) / float64(time.Millisecond)}
	status, err := c.ask(ctx, http.MethodPost, instancePath(id)+"/deploy", body, &out)
	return out, status == http.StatusCreated, err
}

// Swap moves the requests for a service's own host name from one instance to another.
func (c *Client) Swap(ctx context.Context, service, from, to string) (out wire.Outcome, err error) {
	_, err = c.ask(ctx, http.MethodPost, "/services/"+url.PathEscape(service)+"/route", wire.RouteRequest{From: from, To: to}, &out)
	return out, err
}

func number(w tenant.Weight) *int {
	if !w.Set {
		return nil
	}
	return &w.N
}
