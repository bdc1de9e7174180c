package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func newSpawnCommand(p *program) *cobra.Command {
	return newEachCommand(p, "spawn", "Create instances and start them",
		`Create instances and start them. One that exists already keeps its data and is
woken if it sleeps.

If the app ends or does not listen, its last lines are shown and the exit code is 5;
the instance stays, and its next request tries again.`, spawn)
}

func spawn(ctx context.Context, c *client.Client, id tenant.ID) (done, error) {
	out, created, err := c.Spawn(ctx, id)
	if err != nil {
		return done{}, err
	}
	if created {
		return done{fmt.Sprintf("%s is %s", id, describeAwake(out)), out}, nil
	}
	return done{fmt.Sprintf("%s exists already; it is %s", id, describeAwake(out)), out}, nil
}

// pausedNote is said of one that is awake, or was woken, and is paused.
const pausedNote = "; it is paused: requests get the maintenance page"

// describeAwake is "awake at URL (woke in 63 ms)", or what the instance is otherwise.
func describeAwake(out wire.Outcome) string {
	text := out.State.String()
	if out.State == tenant.Awake && out.URL != "" {
		text += " at " + out.URL
	}
	if out.Woke != nil {
		text += fmt.Sprintf(" (woke in %s)", millis(out.Woke.TotalMS))
	}
	if out.Paused != nil {
		text += pausedNote
	}
	return text
}
