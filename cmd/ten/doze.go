package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

func newDozeCommand(p *program) *cobra.Command {
	return newEachCommand(p, "doze", "Freeze instances now",
		`Freeze awake instances now and give their memory back, as doze_timeout would. Their next
request has them go on in a millisecond or so, and idle_timeout puts them to sleep. One that
has requests in flight, streams with traffic or a lease is refused, and so is one whose
machine cannot freeze it; "ten stop" puts those to sleep.`, doze)
}

func doze(ctx context.Context, c *client.Client, id tenant.ID) (done, error) {
	out, err := c.Doze(ctx, id)
	if err != nil {
		return done{}, err
	}
	if out.State != tenant.Dozing {
		return done{fmt.Sprintf("%s was frozen, and is %s again: a request came for it", id, out.State), out}, nil
	}
	return done{fmt.Sprintf("%s dozes; its next request thaws it", id), out}, nil
}
