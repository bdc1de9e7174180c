package main

import (
	"errors"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

func newReloadCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the daemon read tenement.toml again",
		Long: `Have the daemon read tenement.toml again, and the pages of services with it. Where there
is a fault in it nothing changes, each fault is printed and the exit code is 6: as
ExecReload= of the daemon's unit it makes "systemctl reload" fail. Instances that have
come to [instances] are started; those whose service is gone are named.`,
		Example: "  ten reload",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.ask(func(c *client.Client) error {
				stop := p.progress("reload")
				out, err := c.Reload(cmd.Context())
				stop()
				var e *tenant.Error
				if errors.As(err, &e) && len(e.Log) > 0 {
					p.report(err)
					for _, line := range e.Log {
						p.note("  %s\n", clean(line))
					}
					return reported(exitConfig)
				}
				if err != nil {
					return err
				}
				if len(out.Unserved) > 0 {
					p.note("%s\nhint: %s\n", unservedText(out.Unserved), unservedHint)
				}
				return p.say(done{"reloaded " + out.Config, out}, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON")
	return cmd
}
