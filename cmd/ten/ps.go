package main

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func newPsCommand(p *program) *cobra.Command {
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:   "ps [SERVICE]",
		Short: "List the instances",
		Long: `List the instances, of one service or of all.

SINCE is how long an instance has been in its state, LAST-ACTIVE when its last request
ended, BUSY how many are in flight now and WAKES how often it was started from sleep.
RELEASE is shown where a service has releases, and as "v1 > v2" where the next start
gets another. Below the table are the last lines of the first three that have failed.

Of more than 1,000 instances those that are asleep are only counted; --all lists them
too, and so does --json.`,
		Example: "  ten ps\n  ten ps notes --json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(cmd, "`ten ps` takes one service")
			}
			if len(args) == 1 {
				return checkService(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			service := ""
			if len(args) == 1 {
				service = args[0]
			}
			return p.ps(cmd.Context(), service, asJSON, all)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "list sleepers too, however many")
	return cmd
}

func (p *program) ps(ctx context.Context, service string, asJSON, all bool) error {
	return p.ask(func(c *client.Client) error {
		var list []wire.Instance
		var asleep int
		var err error
		if asJSON || all {
			list, err = c.List(ctx, service)
		} else {
			list, asleep, err = c.ListSome(ctx, service)
		}
		if err != nil {
			return err
		}
		p.addLogs(ctx, c, list)
		switch {
		case asJSON:
			return printJSON(p.out, list)
		case len(list)+asleep == 0 && service == "":
			p.note("no instances yet; `ten spawn SERVICE:NAME` creates one\n")
			return nil
		case len(list)+asleep == 0:
			p.note("no instances of %s yet; `ten spawn %s:NAME` creates one\n", service, service)
			return nil
		}
		if err := p.printTable(instanceRows(list, p.now())); err != nil {
			return err
		}
		if asleep > 0 {
			p.note("%d more are asleep; `ten ps --all` lists them\n", asleep)
		}
		for _, inst := range list {
			p.noteLog(inst.ID, inst.Log)
		}
		return nil
	})
}

// maxLogs is of how many failed instances the last lines are shown.
const maxLogs = 3

// addLogs adds the last lines of those that have failed. One that cannot be asked for
// is shown without.
func (p *program) addLogs(ctx context.Context, c *client.Client, list []wire.Instance) {
	left := maxLogs
	for i := range list {
		if list[i].State == tenant.Failed && left > 0 {
			left--
			if inst, err := c.Get(ctx, list[i].ID); err == nil {
				list[i].Log = inst.Log
			}
		}
	}
}

// instanceRows is a table of instances, with columns for releases, weights and reasons where there
// are any.
func instanceRows(list []wire.Instance, now time.Time) [][]string {
	rows := [][]string{{"INSTANCE", "STATE", "SINCE", "LAST-ACTIVE", "BUSY", "WAKES", "PORT", "UNIT", "RELEASE", "WEIGHT", "REASON"}}
	for _, inst := range list {
		rows = append(rows, []string{
			inst.ID.String(), state(inst), ago(now, inst.Since, "-"), lastActive(now, inst),
			strconv.Itoa(inst.InFlight), strconv.FormatInt(inst.Wakes, 10), port(inst.Port), inst.Unit, release(inst), weight(inst.Weight), reason(inst, now),
		})
	}
	for column := len(rows[0]) - 1; column > 0; column-- {
		if !slices.ContainsFunc(rows[1:], func(row []string) bool { return row[column] != "" }) {
			for i := range rows {
				rows[i] = slices.Delete(rows[i], column, column+1)
			}
		}
	}
	return rows
}

// state is an instance's, with its health where that is not good.
func state(inst wire.Instance) string {
	if inst.State == tenant.Awake && inst.Health != "" && inst.Health != tenant.Healthy {
		return inst.State.String() + "," + string(inst.Health)
	}
	return inst.State.String()
}

// reason is why an instance does not serve, or not well.
func reason(inst wire.Instance, now time.Time) string {
	if inst.Paused == nil {
		return inst.Reason
	}
	text := describePause(*inst.Paused, now)
	if inst.Reason != "" {
		text += "; " + inst.Reason
	}
	return text
}

// release is an instance's, and that of its next start where it is another.
func release(inst wire.Instance) string {
	if inst.NextRelease != "" {
		return inst.Release + " > " + inst.NextRelease
	}
	return inst.Release
}

func weight(w *int) string {
	if w == nil {
		return ""
	}
	return strconv.Itoa(*w)
}

func lastActive(now time.Time, inst wire.Instance) string {
	if inst.InFlight > 0 {
		return "now"
	}
	return ago(now, inst.LastActive, "never")
}

// ago is how long before now t was, or otherwise where there is no t.
func ago(now, t time.Time, otherwise string) string {
	if t.IsZero() {
		return otherwise
	}
	return age(now.Sub(t))
}

func port(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}
