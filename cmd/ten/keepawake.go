package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func newKeepAwakeCommand(p *program) *cobra.Command {
	var revoke, asJSON bool
	cmd := &cobra.Command{
		Use:   "keep-awake [INSTANCE DURATION]",
		Short: "Keep an instance awake for a while",
		Long: `Keep an instance awake for a while, whatever its timeouts say; one that sleeps is
woken. A further lease of yours takes the place of the one before. "ten stop" stops the
instance all the same, and ends all leases on it.

Apps take leases themselves, with the response header ` + tenant.KeepAwakeHeader + `: 10m. With
--revoke, or the duration 0, all leases on the instance end, those too.

Without arguments the leases are listed.`,
		Example: "  ten keep-awake notes:alice 2h\n  ten keep-awake --revoke notes:alice\n  ten keep-awake",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && !revoke:
				return nil
			case revoke && len(args) != 1:
				return usage(cmd, "`ten keep-awake --revoke` needs one instance, such as notes:alice")
			case !revoke && len(args) != 2:
				return usage(cmd, "`ten keep-awake` needs an instance and a duration, such as notes:alice 2h")
			}
			_, err := tenant.ParseID(args[0])
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return p.leases(cmd.Context(), asJSON)
			}
			var d time.Duration
			if !revoke {
				var err error
				if d, err = tenant.ParseSeconds(args[1]); err != nil {
					return &tenant.Error{
						Code: tenant.CodeInvalid, Op: "keep awake", Err: err,
						Msg:  fmt.Sprintf("%q is not a duration", args[1]),
						Hint: "write 30m, 2h or a number of seconds",
					}
				}
			}
			return p.each(cmd.Context(), "keep-awake", args[:1], asJSON, keepAwake(p, d))
		},
	}
	cmd.Flags().BoolVar(&revoke, "revoke", false, "end all leases on the instance")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func keepAwake(p *program, d time.Duration) operation {
	return func(ctx context.Context, c *client.Client, id tenant.ID) (done, error) {
		out, err := c.KeepAwake(ctx, id, d)
		if err != nil {
			return done{}, err
		}
		if d == 0 {
			return done{fmt.Sprintf("no lease keeps %s awake any more; it is %s", id, out.State), out}, nil
		}
		text := fmt.Sprintf("%s is %s", id, describeAwake(out))
		for _, l := range out.Leases {
			if l.Holder == tenant.HolderOperator {
				text += ", and stays so until " + clock(p.now(), l.Until)
			}
		}
		return done{text, out}, nil
	}
}

// leases lists all leases.
func (p *program) leases(ctx context.Context, asJSON bool) error {
	return p.ask(func(c *client.Client) error {
		all, err := c.List(ctx, "")
		if err != nil {
			return err
		}
		held := []wire.Instance{}
		rows := [][]string{{"INSTANCE", "STATE", "HOLDER", "UNTIL"}}
		for _, inst := range all {
			if len(inst.Leases) > 0 {
				held = append(held, inst)
			}
			for _, l := range inst.Leases {
				rows = append(rows, []string{inst.ID.String(), inst.State.String(), string(l.Holder), clock(p.now(), l.Until)})
			}
		}
		switch {
		case asJSON:
			return printJSON(p.out, held)
		case len(held) == 0:
			p.note("no leases; `ten keep-awake SERVICE:NAME 2h` takes one\n")
			return nil
		}
		return p.printTable(rows)
	})
}

// clock is a moment in local time, with its date unless that is today's.
func clock(now, t time.Time) string {
	t = t.Local()
	if now = now.Local(); t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}
