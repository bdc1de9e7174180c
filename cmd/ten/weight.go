package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

const aboutWeights = `A service's own host name, such as notes.DOMAIN, is answered by its instances in
proportion to their weights. One without a weight counts as 100, one with 0 gets no
request; at its own host name an instance answers whatever its weight. A service with
service_host = false has no such name, and its instances no weights.`

func newWeightCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "weight INSTANCE WEIGHT",
		Short:   "Set an instance's share of its service's requests",
		Long:    aboutWeights + "\n\nWEIGHT is 0 to 10000, or `none` to take it away.",
		Example: "  ten weight notes:v2 20",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage(cmd, "`ten weight` needs an instance and a weight, such as notes:v2 20")
			}
			if _, err := parseWeight(args[1]); err != nil {
				return err
			}
			_, err := tenant.ParseID(args[0])
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := parseWeight(args[1])
			if err != nil {
				return err
			}
			return p.each(cmd.Context(), "weight", args[:1], asJSON, func(ctx context.Context, c *client.Client, id tenant.ID) (done, error) {
				out, err := c.SetWeight(ctx, id, w)
				if err != nil {
					return done{}, err
				}
				if !w.Set {
					return done{fmt.Sprintf("%s has no weight of its own", id), out}, nil
				}
				return done{fmt.Sprintf("%s has weight %d", id, w.N), out}, nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON")
	return cmd
}

func parseWeight(text string) (tenant.Weight, error) {
	if text == "none" {
		return tenant.Weight{}, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > tenant.MaxWeight {
		return tenant.Weight{}, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "read command line",
			Msg:  fmt.Sprintf("%.40q is not a weight", text),
			Hint: fmt.Sprintf("use 0 to %d, or none", tenant.MaxWeight),
		}
	}
	return tenant.Weight{N: n, Set: true}, nil
}

func newRouteCommand(p *program) *cobra.Command {
	var from, to string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "route SERVICE --from NAME --to NAME",
		Short: "Move a service's requests from one instance to another, at once",
		Long: `Move the requests for a service's own host name from one instance to another, in one
step: the second gets the weight of the first, and the first gets 0. Before it the
second is woken; if that fails nothing changes.`,
		Example: "  ten route notes --from v1 --to v2",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || from == "" || to == "" {
				return usage(cmd, "`ten route` needs a service, --from and --to")
			}
			for _, name := range []string{from, to} {
				if _, err := tenant.ParseID(args[0] + ":" + name); err != nil {
					return err
				}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.ask(func(c *client.Client) error {
				out, err := c.Swap(cmd.Context(), args[0], from, to)
				if err != nil {
					return err
				}
				return p.say(done{fmt.Sprintf("requests for %s go to %s now, and no more to %s", args[0], to, from), out}, asJSON)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "the `instance` that has the requests now")
	flags.StringVar(&to, "to", "", "the `instance` that gets them")
	flags.BoolVar(&asJSON, "json", false, "print a line of JSON")
	return cmd
}
