package main

import (
	"iter"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func newEventsCommand(p *program) *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:   "events [SERVICE | INSTANCE]",
		Short: "Show what Tenement did, and who asked for it",
		Long: `Show what Tenement did with an instance, or with all of a service, or everything:
wakes and how long they took, doze, sleep, failures, health, deployments, limits, and
who asked for what; oldest first. It is in systemd's journal, where this shows more:

  journalctl -t tenement TENEMENT_INSTANCE=notes:alice -x

The times are a duration (10m, 36h, 7d), or a moment in RFC 3339.`,
		Example: "  ten events notes:alice\n  ten events -f\n  ten events --since 1h --json notes",
		Args:    whomArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.logs(cmd.Context(), &o, args, func(c *client.Client, whom tenant.ID, query client.LogOptions) iter.Seq2[wire.LogEntry, error] {
				return c.History(cmd.Context(), whom, query)
			})
		},
	}
	o.addFlags(cmd)
	return cmd
}
