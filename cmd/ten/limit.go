package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// limitFlags are what the flag of each limit says of itself.
var limitFlags = map[tenant.Limit]string{
	tenant.LimitMemory:    "`bytes` of memory, such as 512M, and as much of swap",
	tenant.LimitCPUQuota:  "`percent` of one CPU, such as 50% or 200%",
	tenant.LimitCPUShares: "`weight` among those that want the CPU, 1 to 10000; others have 100",
	tenant.LimitIOWeight:  "`weight` among those that want the disk, 1 to 10000; others have 100",
	tenant.LimitTasks:     "`number` of threads",
	tenant.LimitNoFile:    "`number` of open files of each process, from its next start on",
	tenant.LimitStorage:   "`bytes` of data, such as 1G",
}

func newLimitCommand(p *program) *cobra.Command {
	var asJSON, reset bool
	values := map[tenant.Limit]*string{}
	cmd := &cobra.Command{
		Use:   "limit INSTANCE",
		Short: "Show or change what an instance may use",
		Long: `Show what an instance may use, where each limit is from and what it uses now, or change
limits of this one instance.

A change takes effect at once, without a restart, and is kept until it is reset. Open
files are the exception: they change with the next start. The value none is no limit at
all, the value service is what tenement.toml says; --reset is that for all limits.

An instance that uses more memory than a new limit is ended by the kernel if it cannot
give it back. One that has more data than its limit is stopped where the file system does
not enforce the limit; "ten doctor" tells.`,
		Example: `  ten limit notes:alice
  ten limit notes:alice --memory 512M --cpu-quota 50%
  ten limit notes:alice --memory service`,
		Args: oneInstanceArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			change, err := limitChange(cmd, values, reset)
			if err != nil {
				return err
			}
			return p.limit(cmd.Context(), args[0], change, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	for _, limit := range tenant.AllLimits() {
		values[limit] = flags.String(string(limit), "", limitFlags[limit])
	}
	flags.BoolVar(&reset, "reset", false, "go back to what the service has")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// limitChange reads the flags; nil means that nothing is to be changed.
func limitChange(cmd *cobra.Command, values map[tenant.Limit]*string, reset bool) (*wire.LimitRequest, error) {
	change := &wire.LimitRequest{Set: tenant.Limits{}, ResetAll: reset}
	for _, limit := range tenant.AllLimits() {
		text := *values[limit]
		switch {
		case !cmd.Flags().Changed(string(limit)):
		case text == "service":
			change.Reset = append(change.Reset, limit)
		default:
			v, err := limit.Parse(text)
			if err != nil {
				return nil, err
			}
			change.Set[limit] = v
		}
	}
	if len(change.Set) == 0 && len(change.Reset) == 0 && !reset {
		return nil, nil
	}
	return change, nil
}

func (p *program) limit(ctx context.Context, arg string, change *wire.LimitRequest, asJSON bool) error {
	id, err := tenant.ParseID(arg)
	if err != nil {
		return err
	}
	return p.ask(func(c *client.Client) (err error) {
		var limits wire.Limits
		if change == nil {
			limits, err = c.Limits(ctx, id)
		} else {
			limits, err = c.SetLimits(ctx, id, *change)
		}
		switch {
		case err != nil:
			return err
		case asJSON:
			return printJSON(p.out, limits)
		}
		return p.printLimits(limits)
	})
}

func (p *program) printLimits(l wire.Limits) error {
	rows := [][]string{{"LIMIT", "VALUE", "FROM", "IN USE"}}
	pending := ""
	for _, v := range l.Limits {
		rows = append(rows, []string{string(v.Limit), v.Limit.Format(v.Value), string(v.From), inUse(v.Limit, l.Usage)})
		if v.Pending {
			pending = string(v.Limit)
		}
	}
	if err := p.printTable(rows); err != nil {
		return err
	}
	if pending == "" {
		return nil
	}
	_, err := fmt.Fprintf(p.out, "%s changes with the next start: ten restart %s\n", pending, l.ID)
	return err
}

// inUse is what an instance uses of what a limit bounds.
func inUse(limit tenant.Limit, u wire.Usage) string {
	count := func(v *int64, format func(int64) string) string {
		if v == nil {
			return "-"
		}
		return format(*v)
	}
	switch limit {
	case tenant.LimitMemory:
		return count(u.Memory, tenant.FormatBytes)
	case tenant.LimitTasks:
		return count(u.Tasks, func(n int64) string { return fmt.Sprint(n) })
	case tenant.LimitStorage:
		return count(u.Storage, tenant.FormatBytes)
	case tenant.LimitCPUQuota:
		if u.CPUMS == nil {
			return "-"
		}
		return strings.Replace(millis(*u.CPUMS), " ", "", 1) + " since its start"
	default:
		return ""
	}
}
