package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func newTokenCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Give others access to the management API",
		Long: `Give others access to the management API, over TCP (api_listen in tenement.toml) or at the
base domain (api_domain).

An admin's token may do everything. A tenant's is for the instances of one name, under
every service: to see their state, health, logs, limits and use. Where no daemon runs the
commands work on its registry; name its tenement.toml with --config, if it is elsewhere.`,
		Example: "  ten token gen\n  ten token gen --tenant alice --allow restart,wake --expires 90d\n  ten token ls\n  ten token revoke k3x7m2qa",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenGenCommand(p), newTokenListCommand(p), newTokenRevokeCommand(p))
	return cmd
}

// newTokenGenAlias is `ten token-gen`.
func newTokenGenAlias(p *program) *cobra.Command {
	cmd := newTokenGenCommand(p)
	cmd.Use, cmd.Aliases, cmd.Hidden = "token-gen", nil, true
	return cmd
}

func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", defaultConfig, "configuration `file` of the daemon, where none runs")
}

func newTokenGenCommand(p *program) *cobra.Command {
	var config, tenantName, expires, description string
	var allow []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "gen",
		Aliases: []string{"create"},
		Short:   "Make a token and print it, this once",
		Example: "  ten token gen --description 'the deploy script' > token\n  ten token gen --tenant alice --expires 90d",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			want := wire.TokenRequest{Tenant: tenantName, Description: description}
			for _, name := range allow {
				want.Allow = append(want.Allow, tenant.Permission(name))
			}
			if cmd.Flags().Changed("tenant") && tenantName == "" {
				return usage(cmd, "--tenant needs the name of instances") // or it would be an admin's
			}
			life, err := tokenLife(expires)
			if err != nil {
				return err
			}
			want.ForMS = life.Milliseconds()
			return p.generateToken(cmd.Context(), config, want, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&tenantName, "tenant", "", "for the instances of that `name` only (default: an admin's, for everything)")
	flags.StringSliceVar(&allow, "allow", nil, "what a tenant's may do beside looking: `restart,wake`")
	flags.StringVar(&expires, "expires", "", "for how `long` it is good, such as 90d or 12h (default: for ever)")
	flags.StringVar(&description, "description", "", "a `text` to know it by")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	configFlag(cmd, &config)
	return cmd
}

// tokenLife reads for how long a token is to be good, 0 for ever.
func tokenLife(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	var d time.Duration
	days, isDays := strings.CutSuffix(text, "d")
	n, err := strconv.ParseUint(days, 10, 15)
	if isDays && err == nil {
		d = time.Duration(n) * 24 * time.Hour
	} else {
		d, err = time.ParseDuration(text)
	}
	if err != nil || d < time.Millisecond {
		return 0, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "make token", Err: err,
			Msg: fmt.Sprintf("--expires %q is not how long a token can be good", text), Hint: "write 90d, 12h or 30m",
		}
	}
	return d, nil
}

func (p *program) generateToken(ctx context.Context, config string, want wire.TokenRequest, asJSON bool) error {
	var made wire.NewToken
	err := p.withTokens(ctx, config, func(t tokenKeeper) (err error) {
		made, err = t.CreateToken(ctx, want)
		return err
	})
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(p.out, made)
	}
	if _, err := fmt.Fprintln(p.out, made.Secret); err != nil {
		return err
	}
	p.note("that is token %s, %s; it is not shown again\n", made.ID, describeToken(made.Token, p.now()))
	return nil
}

func describeToken(t wire.Token, now time.Time) string {
	text := "an admin's"
	if t.Tenant != "" {
		text = "for the instances called " + t.Tenant
	}
	if !t.Expires.IsZero() {
		text += ", good until " + clock(now, t.Expires)
	}
	return text
}

func newTokenListCommand(p *program) *cobra.Command {
	var config string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the tokens, without their secrets",
		Example: "  ten token ls\n  ten token ls --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []wire.Token
			err := p.withTokens(cmd.Context(), config, func(t tokenKeeper) (err error) {
				list, err = t.Tokens(cmd.Context())
				return err
			})
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(p.out, list)
			case len(list) == 0:
				p.note("there are no tokens; `ten token gen` makes one\n")
				return nil
			}
			rows := [][]string{{"ID", "FOR", "ALLOWS", "CREATED", "EXPIRES", "LAST-USED", "DESCRIPTION"}}
			for _, t := range list {
				rows = append(rows, tokenRow(t, p.now()))
			}
			return p.printTable(rows)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	configFlag(cmd, &config)
	return cmd
}

func tokenRow(t wire.Token, now time.Time) []string {
	whose, allows, expires := "admin", "everything", "never"
	if t.Tenant != "" {
		whose, allows = t.Tenant, "-"
		if len(t.Allow) > 0 {
			var names []string
			for _, p := range t.Allow {
				names = append(names, string(p))
			}
			allows = strings.Join(names, ",")
		}
	}
	switch {
	case t.Expired:
		expires = "expired"
	case !t.Expires.IsZero():
		expires = "in " + age(t.Expires.Sub(now))
	}
	return []string{t.ID, whose, allows, ago(now, t.Created, "-"), expires, ago(now, t.Used, "never"), t.Description}
}

func newTokenRevokeCommand(p *program) *cobra.Command {
	var config string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "revoke ID...",
		Aliases: []string{"rm"},
		Short:   "Take tokens away, at once",
		Example: "  ten token revoke k3x7m2qa",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, "`ten token revoke` needs the ID of a token; `ten token ls` has it")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withTokens(cmd.Context(), config, func(t tokenKeeper) error {
				worst := exitOK
				for _, id := range args {
					err := t.RevokeToken(cmd.Context(), id)
					switch {
					case errors.Is(err, client.ErrNoDaemon):
						return err
					case err != nil: // the others go all the same
						p.report(err)
						worst = max(worst, exitCode(err))
						continue
					}
					if err := p.say(done{"token " + id + " is good no longer", struct {
						ID      string `json:"id"`
						Revoked bool   `json:"revoked"`
					}{id, true}}, asJSON); err != nil {
						return err
					}
				}
				if worst != exitOK {
					return reported(worst)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each")
	configFlag(cmd, &config)
	return cmd
}
