package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func newDomainCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "domain",
		Short: "Give instances host names of their own",
		Long: `Give instances host names of their own, beside INSTANCE.SERVICE.DOMAIN. The name's DNS
record must lead to this machine. Its twin with or without "www." is redirected to it,
and with TLS from an ACME server both get certificates.

With --verify, or verify_domains = true in tenement.toml, a host name is pending at first:
it is neither served nor gets a certificate until its owner has made the TXT record that
"ten domain add" and "ten domain ls" show. The daemon looks for it by itself for a week,
and "ten domain verify" looks now. Several instances may wait for the same name: it goes to
the first one whose record is there.`,
		Example: "  ten domain add notes:alice notes.alice.example\n  ten domain add notes:bob notes.bob.example --verify\n  ten domain ls\n  ten domain rm notes.alice.example",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDomainAddCommand(p), newDomainListCommand(p), newDomainVerifyCommand(p), newDomainRemoveCommand(p))
	return cmd
}

func newDomainAddCommand(p *program) *cobra.Command {
	var asJSON, verify bool
	cmd := &cobra.Command{
		Use:     "add INSTANCE HOST",
		Short:   "Give an instance a host name",
		Example: "  ten domain add notes:alice notes.alice.example\n  ten domain add notes:alice notes.alice.example --verify",
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
				d, added, err := c.AddDomain(ctx, args[1], id, verify)
				switch {
				case err != nil:
					return done{}, err
				case d.Pending != nil:
					return done{fmt.Sprintf("%s waits for %s; make this DNS record, then `ten domain verify %s`: %s", id, d.Host, d.Host, record(d)), d}, nil
				case !added:
					return done{fmt.Sprintf("%s has %s already", id, d.Host), d}, nil
				}
				return done{fmt.Sprintf("%s answers at %s now", id, d.Host), d}, nil
			})
		},
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "only once its owner's DNS record is there")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON")
	return cmd
}

// record is the DNS record that a pending host name needs, as zone files have it (RFC
// 1035, section 5.1).
func record(d wire.Domain) string {
	return fmt.Sprintf("%s. TXT %q", d.Pending.Record, d.Pending.Token)
}

func newDomainListCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the host names of instances",
		Example: "  ten domain ls\n  ten domain ls --json",
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
				rows := [][]string{{"HOST", "INSTANCE", "SINCE", "STATUS"}}
				for _, d := range list {
					status := "served"
					switch {
					case d.Pending != nil:
						status = "pending: " + record(d)
					case !d.Verified.IsZero():
						status = "verified"
					}
					rows = append(rows, []string{d.Host, d.ID.String(), ago(p.now(), d.Created, "-"), status})
				}
				return p.printTable(rows)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

func newDomainVerifyCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify [HOST]",
		Short: "Look for the DNS record of pending host names now",
		Long: `Look for the DNS record of a pending host name now, or of all of them. The exit code is 1
where one is pending still. A resolver may remember for some minutes that there was none.`,
		Example: "  ten domain verify notes.alice.example\n  ten domain verify --json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(cmd, "`ten domain verify` takes one host name, or none")
			}
			for _, host := range args {
				if _, err := tenant.ParseHost(host); err != nil {
					return err
				}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.ask(func(c *client.Client) error {
				hosts := args
				if len(hosts) == 0 {
					list, err := c.Domains(cmd.Context())
					if err != nil {
						return err
					}
					for _, d := range list {
						if d.Pending != nil && !slices.Contains(hosts, d.Host) {
							hosts = append(hosts, d.Host)
						}
					}
					if len(hosts) == 0 {
						p.note("no host name is pending\n")
						return nil
					}
				}
				pending := false
				for _, host := range hosts {
					list, err := c.VerifyDomain(cmd.Context(), host)
					if err != nil {
						return err
					}
					for _, d := range list {
						pending = pending || d.Pending != nil
						if asJSON {
							err = printJSONLine(p.out, d)
						} else {
							err = p.sayVerified(d)
						}
						if err != nil {
							return err
						}
					}
				}
				if pending {
					return reported(exitFailure)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON per host name")
	return cmd
}

// sayVerified tells what looking for a host name's record has come to.
func (p *program) sayVerified(d wire.Domain) error {
	if d.Pending == nil {
		return p.say(done{fmt.Sprintf("%s answers at %s now", d.ID, d.Host), nil}, false)
	}
	p.note("%s waits for %s: %s\n", d.ID, d.Host, clean(d.Pending.Problem))
	p.note("hint: make this DNS record: %s\n", clean(record(d)))
	return nil
}

func newDomainRemoveCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "rm HOST",
		Example: "  ten domain rm notes.alice.example",
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
				return p.say(done{"no instance has the host name " + args[0] + " any more", struct {
					Host    string `json:"host"`
					Removed bool   `json:"removed"`
				}{args[0], true}}, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON")
	return cmd
}
