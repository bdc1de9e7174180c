package main

import (
	"iter"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
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
			query, err := o.parse(p.now())
			if err != nil {
				return err
			}
			whom, err := parseWhom(args)
			if err != nil {
				return err
			}
			show := printEntry
			if o.json {
				show = printEntryJSON
			}
			return p.logs(cmd.Context(), o.follow, show, func(c *client.Client) iter.Seq2[wire.LogEntry, error] {
				return c.History(cmd.Context(), whom, query)
			})
		},
	}
	o.addFlags(cmd)
	return cmd
}
