package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

func newDeployCommand(p *program) *cobra.Command {
	var weight string
	var timeout time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "deploy INSTANCE",
		Short: "Start an instance, and give it requests when it is ready",
		Long: `Start an instance, creating it if need be, and give it its weight when it is ready and
healthy; a new one gets no request for its service's own host name before. If it does
not get ready it is stopped and the weights stay as they were; one that ran already
goes on.

` + aboutWeights,
		Example: "  ten deploy notes:v2 --weight 0\n  ten route notes --from v1 --to v2",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, "`ten deploy` needs an instance, such as notes:v2")
			}
			_, err := parseShare(cmd, weight)
			if err == nil && timeout < 0 {
				err = usage(cmd, "--timeout cannot be negative")
			}
			if err == nil {
				_, err = tenant.ParseID(args[0])
			}
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := parseShare(cmd, weight)
			if err != nil {
				return err
			}
			return p.each(cmd.Context(), "deploy", args, asJSON, func(ctx context.Context, c *client.Client, id tenant.ID) (done, error) {
				out, _, err := c.Deploy(ctx, id, w, timeout)
				if err != nil {
					return done{}, err
				}
				text := fmt.Sprintf("%s is %s", id, describeAwake(out))
				if out.Weight != nil {
					text += fmt.Sprintf(", with weight %d", *out.Weight)
				}
				return done{text, out}, nil
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&weight, "weight", "", fmt.Sprintf("its `weight` when it is ready, 0 to 10000 (default %d)", tenant.DefaultWeight))
	flags.DurationVar(&timeout, "timeout", 0, "how long it may take, such as 30s (default: the service's startup_timeout)")
	flags.BoolVar(&asJSON, "json", false, "print a line of JSON")
	return cmd
}

// parseShare reads --weight; the zero Weight leaves it to the daemon.
func parseShare(cmd *cobra.Command, text string) (tenant.Weight, error) {
	if !cmd.Flags().Changed("weight") {
		return tenant.Weight{}, nil
	}
	w, err := parseWeight(text)
	if err == nil && !w.Set {
		err = usage(cmd, "--weight takes a number")
	}
	return w, err
}
