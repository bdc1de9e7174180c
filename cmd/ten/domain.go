package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

func newDomainCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "domain",
		Short: "Give instances host names of their own",
		Long: `Give instances host names of their own, beside INSTANCE.SERVICE.DOMAIN. The name's DNS
record must lead to this machine. Its twin with or without "www." is redirected to it,
and with TLS from an ACME server both get certificates.`,
		Example: "  ten domain add notes:alice notes.alice.example\n  ten domain ls\n  ten domain rm notes.alice.example",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDomainAddCommand(p), newDomainListCommand(p), newDomainRemoveCommand(p))
	return cmd
}

func newDomainAddCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "add INSTANCE HOST",
		Short:   "Give an instance a host name",
		Example: "  ten domain add notes:alice notes.alice.example",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage(cmd, "`ten domain add` needs an instance and a host name, such as notes:alice notes.alice.example")
			}
			if _, err := tenant.ParseID(args[0]); err != nil {
				return err
			}
			_, err := tenant.ParseHost(args[1])
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.each(cmd.Context(), "domain", args[:1], asJSON, func(ctx context.Context, c *client.Client, id tenant.ID) (done, error) {
				d, added, err := c.AddDomain(ctx, args[1], id)
				if err != nil {
					return done{}, err
				}
				if !added {
					return done{fmt.Sprintf("%s has %s already", id, d.Host), d}, nil
				}
				return done{fmt.Sprintf("%s answers at %s now", id, d.Host), d}, nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON")
	return cmd
}

func newDomainListCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the host names of instances",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.ask(func(c *client.Client) error {
				list, err := c.Domains(cmd.Context())
				switch {
				case err != nil:
					return err
				case asJSON:
					return printJSON(p.out, list)
				case len(list) == 0:
					p.note("no instance has a host name of its own; `ten domain add SERVICE:NAME HOST` gives it one\n")
					return nil
				}
				rows := [][]string{{"HOST", "INSTANCE", "SINCE"}}
				for _, d := range list {
					rows = append(rows, []string{d.Host, d.ID.String(), ago(p.now(), d.Created, "-")})
				}
				return printRows(p.out, rows)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

func newDomainRemoveCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:     "rm HOST",
		Aliases: []string{"remove"},
		Short:   "Take a host name away",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, "`ten domain rm` needs a host name")
			}
			_, err := tenant.ParseHost(args[0])
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.ask(func(c *client.Client) error {
				if err := c.RemoveDomain(cmd.Context(), args[0]); err != nil {
					return err
				}
				return p.say(done{args[0] + " is served no longer", nil}, false)
			})
		},
	}
}
