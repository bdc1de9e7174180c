package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// Rollout asks for a service's latest rollout.
func (c *Client) Rollout(ctx context.Context, service string) (r wire.Rollout, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err = c.ask(ctx, http.MethodGet, rolloutPath(service), nil, &r)
	return r, err
}

// BeginRollout begins to give the instances of a service a release.
func (c *Client) BeginRollout(ctx context.Context, service string, body wire.RolloutRequest) (r wire.Rollout, err error) {
	_, err = c.ask(ctx, http.MethodPost, rolloutPath(service), body, &r)
	return r, err
}

// OrderRollout pauses, resumes or aborts a rollout, or rolls it back: "pause", "resume",
// "abort", "rollback".
func (c *Client) OrderRollout(ctx context.Context, service, order string) (r wire.Rollout, err error) {
	_, err = c.ask(ctx, http.MethodPost, rolloutPath(service)+"/"+url.PathEscape(order), nil, &r)
	return r, err
}

// FollowRollout has tell called for each event of a service's latest rollout, from its
// beginning or the daemon's, and returns what has become of it. It waits for its end.
func (c *Client) FollowRollout(ctx context.Context, service string, tell func(tenant.RolloutEvent) error) (wire.Rollout, error) {
	resp, err := c.send(ctx, http.MethodGet, rolloutPath(service)+"/events", nil)
	if err != nil {
		return wire.Rollout{}, err
	}
	defer resp.Body.Close()
	decoder := json.NewDecoder(resp.Body)
	for {
		var line wire.RolloutLine
		if err := decoder.Decode(&line); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // the last line was not there
			}
			return wire.Rollout{}, c.explain(ctx, err)
		}
		switch {
		case line.Error != nil:
			return wire.Rollout{}, failure(*line.Error)
		case line.Rollout != nil:
			return *line.Rollout, nil
		case line.Event == nil:
			return wire.Rollout{}, c.stranger(errors.New("rollout line without event"))
		}
		if err := tell(*line.Event); err != nil {
			return wire.Rollout{}, err
		}
	}
}

func rolloutPath(service string) string { return "/services/" + url.PathEscape(service) + "/rollout" }
