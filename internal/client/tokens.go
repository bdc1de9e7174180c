package client

import (
	"context"
	"net/http"
	"net/url"

	"tenement.dev/internal/wire"
)

// Tokens lists the tokens.
func (c *Client) Tokens(ctx context.Context) ([]wire.Token, error) {
	ctx, cancel := promptly(ctx)
	defer cancel()
	var list wire.Tokens
	_, err := c.ask(ctx, http.MethodGet, "/tokens", nil, &list)
	return list.Tokens, err
}

// CreateToken makes a token; its secret is told once.
func (c *Client) CreateToken(ctx context.Context, want wire.TokenRequest) (made wire.NewToken, err error) {
	ctx, cancel := promptly(ctx)
	defer cancel()
	_, err = c.ask(ctx, http.MethodPost, "/tokens", want, &made)
	return made, err
}

// RevokeToken takes a token away.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	ctx, cancel := promptly(ctx)
	defer cancel()
	_, err := c.ask(ctx, http.MethodDelete, "/tokens/"+url.PathEscape(id), nil, nil)
	return err
}
