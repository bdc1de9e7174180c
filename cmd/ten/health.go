package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func newHealthCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "health [SERVICE | INSTANCE]",
		Short: "Tell whether instances are well",
		Long: `Tell whether an instance is well, or each of a service, or all: what the checks of the
awake ones have found. One that sleeps or dozes is not checked, and not woken for it.

The exit code is 1 where one is degraded, unhealthy or failed, or sleeps because its latest
start has failed or it is about to be started again: a monitor can use it.`,
		Example: "  ten health\n  ten health notes:alice --json",
		Args:    whomArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			whom, err := parseWhom(args)
			if err != nil {
				return err
			}
			return p.health(cmd.Context(), whom, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

// healthOf is one instance's health, as `ten health --json` prints it.
type healthOf struct {
	ID     tenant.ID     `json:"id"`
	State  tenant.State  `json:"state"`
	Health tenant.Health `json:"health,omitempty"`
	Well   bool          `json:"well"`
	Reason string        `json:"reason,omitempty"`
}

func (p *program) health(ctx context.Context, whom tenant.ID, asJSON bool) error {
	return p.ask(func(c *client.Client) (err error) {
		var list []wire.Instance
		if whom.Name == "" {
			list, err = c.List(ctx, whom.Service)
		} else {
			var one wire.Instance
			one, err = c.Get(ctx, whom)
			list = []wire.Instance{one}
		}
		if err != nil {
			return err
		}
		all, ill := []healthOf{}, 0
		rows := [][]string{{"INSTANCE", "STATE", "HEALTH", "REASON"}}
		for _, inst := range list {
			h := healthOf{inst.ID, inst.State, inst.Health, inst.State != tenant.Failed && !inst.Failing, inst.Reason}
			if inst.State == tenant.Awake && inst.Health != "" && inst.Health != tenant.Healthy {
				h.Well = false
			}
			if !h.Well {
				ill++
			}
			health := string(h.Health)
			if health == "" {
				health = "-"
			}
			all = append(all, h)
			rows = append(rows, []string{h.ID.String(), h.State.String(), health, h.Reason})
		}
		switch {
		case asJSON:
			err = printJSON(p.out, all)
		case len(all) == 0:
			p.note("no instances yet; `ten spawn SERVICE:NAME` creates one\n")
		default:
			err = p.printTable(rows)
		}
		if err != nil || ill == 0 {
			return err
		}
		return &tenant.Error{
			Code: tenant.CodeUnavailable, Op: "health",
			Msg:  fmt.Sprintf("%s not well", tenant.Count(ill, "instance is", "instances are")),
			Hint: "`ten why INSTANCE` tells more",
		}
	})
}
