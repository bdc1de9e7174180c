package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

func newStopCommand(p *program) *cobra.Command {
	return newEachCommand(p, "stop", "Put instances to sleep now",
		`Put instances to sleep now, whatever they do. Their next request wakes them. Data
stays, unless the service has storage_persist = false.`, stop)
}

func stop(ctx context.Context, c *client.Client, id tenant.ID) (done, error) {
	out, err := c.Stop(ctx, id)
	if err != nil {
		return done{}, err
	}
	if out.NoService && (out.State == tenant.Asleep || out.State == tenant.Failed) {
		return done{fmt.Sprintf("%s does not run, and no request wakes it: tenement.toml has no service %s any more", id, id.Service), out}, nil
	}
	if out.State == tenant.Failed {
		return done{fmt.Sprintf("%s does not run, and has failed; `ten restart %[1]s` starts it", id), out}, nil
	}
	if out.State != tenant.Asleep {
		return done{fmt.Sprintf("%s was stopped, and is %s again: a request came for it", id, out.State), out}, nil
	}
	if out.Paused != nil {
		return done{fmt.Sprintf("%s is asleep, and paused: no request wakes it until `ten unpause`", id), out}, nil
	}
	return done{fmt.Sprintf("%s is asleep; its next request wakes it", id), out}, nil
}
