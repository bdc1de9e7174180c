package client

import (
	"context"
	"net/http"
	"net/url"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// Secrets lists the secrets that an instance gets, or those of a service where id has no
// name.
func (c *Client) Secrets(ctx context.Context, id tenant.ID) (list wire.Secrets, err error) {
	ctx, cancel := promptly(ctx)
	defer cancel()
	_, err = c.ask(ctx, http.MethodGet, secretsPath(id), nil, &list)
	return list, err
}

// SetSecret gives an instance a secret, or all of a service where id has no name.
func (c *Client) SetSecret(ctx context.Context, id tenant.ID, name string, value []byte, env *bool) (out wire.SecretChange, err error) {
	ctx, cancel := promptly(ctx)
	defer cancel()
	_, err = c.ask(ctx, http.MethodPut, secretsPath(id)+"/"+url.PathEscape(name), wire.SecretRequest{Value: value, Env: env}, &out)
	return out, err
}

// RemoveSecret takes it away.
func (c *Client) RemoveSecret(ctx context.Context, id tenant.ID, name string) (out wire.SecretChange, err error) {
	ctx, cancel := promptly(ctx)
	defer cancel()
	_, err = c.ask(ctx, http.MethodDelete, secretsPath(id)+"/"+url.PathEscape(name), nil, &out)
	return out, err
}

func secretsPath(id tenant.ID) string {
	if id.Name == "" {
		return "/services/" + url.PathEscape(id.Service) + "/secrets"
	}
	return instancePath(id) + "/secrets"
}
