package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

func newRestartCommand(p *program) *cobra.Command {
	return newEachCommand(p, "restart", "Stop instances and start them again",
		`Stop instances and start them again, with the daemon's present configuration. One
that has failed is tried again.`, restart)
}

func restart(ctx context.Context, c *client.Client, id tenant.ID) (done, error) {
	out, err := c.Restart(ctx, id)
	if err != nil {
		return done{}, err
	}
	return done{fmt.Sprintf("%s was restarted; it is %s", id, describeAwake(out)), out}, nil
}
