package client

import (
	"context"
	"net/http"
	"net/url"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// Domains asks for the host names that instances were given, also those that are pending,
// sorted.
func (c *Client) Domains(ctx context.Context) ([]wire.Domain, error) {
	ctx, cancel := promptly(ctx)
	defer cancel()
	var list wire.Domains
	_, err := c.ask(ctx, http.MethodGet, "/domains", nil, &list)
	return list.Domains, err
}

// AddDomain gives an instance a host name, with verify once its DNS record is there; added
// is false where it has it, or waits for it, already.
func (c *Client) AddDomain(ctx context.Context, host string, id tenant.ID, verify bool) (d wire.Domain, added bool, err error) {
	status, err := c.ask(ctx, http.MethodPost, "/domains", wire.DomainRequest{Host: host, ID: id.String(), Verify: verify}, &d)
	return d, status == http.StatusCreated, err
}

// VerifyDomain has the DNS record of a host name that is pending looked for now. It gives
// who has the host name, or else all who still wait for it.
func (c *Client) VerifyDomain(ctx context.Context, host string) ([]wire.Domain, error) {
	var list wire.Domains
	_, err := c.ask(ctx, http.MethodPost, "/domains/"+url.PathEscape(host)+"/verify", nil, &list)
	return list.Domains, err
}

// RemoveDomain takes a host name away.
func (c *Client) RemoveDomain(ctx context.Context, host string) error {
	_, err := c.ask(ctx, http.MethodDelete, "/domains/"+url.PathEscape(host), nil, nil)
	return err
}
