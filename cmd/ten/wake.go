package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

func newWakeCommand(p *program) *cobra.Command {
	return newEachCommand(p, "wake", "Wake instances",
		`Wake instances, as their next request would. One that has failed is tried again.`, wake)
}

func wake(ctx context.Context, c *client.Client, id tenant.ID) (done, error) {
	out, err := c.Wake(ctx, id)
	if err != nil {
		return done{}, err
	}
	if out.Woke == nil && out.State == tenant.Awake {
		text := fmt.Sprintf("%s was awake already, at %s", id, out.URL)
		if out.Paused != nil {
			text += pausedNote
		}
		return done{text, out}, nil
	}
	return done{fmt.Sprintf("%s is %s", id, describeAwake(out)), out}, nil
}
