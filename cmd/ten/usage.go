package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// usageOptions are the flags of `ten usage`.
type usageOptions struct {
	month       string
	csv, asJSON bool
}

func newUsageCommand(p *program) *cobra.Command {
	var o usageOptions
	cmd := &cobra.Command{
		Use:   "usage [INSTANCE|SERVICE]",
		Short: "Show what instances have used in a month",
		Long: `Show what instances have used in a month: requests that their apps got, bytes from
clients and to them (of bodies and upgraded connections), time awake and dozing, CPU time
of all cores, memory in GiB hours (looked at once a minute) and the most data that they
had on a day. What is not known is "-", such as memory where the machine lacks cgroup v2's
memory controller, and null or empty in JSON and CSV. Days and months are in UTC. It is remembered for 400 days, also of
instances that were destroyed; a daemon that is killed loses a minute of it.

--csv and --json have each day by itself, for a program that makes bills.`,
		Example: `  ten usage
  ten usage notes:alice --month 2026-11
  ten usage notes --month 2026-11 --csv > november.csv`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(cmd, "`ten usage` takes an instance or a service")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.csv && o.asJSON {
				return usage(cmd, "--csv and --json exclude each other")
			}
			return p.usage(cmd.Context(), strings.Join(args, ""), o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.month, "month", "", "the `month`, such as 2026-11 (default: this one)")
	flags.BoolVar(&o.csv, "csv", false, "print a line of CSV for each instance and day")
	flags.BoolVar(&o.asJSON, "json", false, "print a JSON array of each instance and day")
	return cmd
}

func (p *program) usage(ctx context.Context, of string, o usageOptions) error {
	var service, instance string
	if strings.Contains(of, ":") {
		id, err := tenant.ParseID(of)
		if err != nil {
			return err
		}
		instance = id.String()
	} else if of != "" {
		if err := tenant.CheckLabel("service", of); err != nil {
			return err
		}
		service = of
	}
	return p.ask(func(c *client.Client) error {
		days, err := c.Use(ctx, o.month, service, instance)
		switch {
		case err != nil:
			return err
		case o.asJSON:
			return printJSON(p.out, days)
		case o.csv:
			return p.writeUsage(days)
		case len(days) == 0:
			p.note("nothing was used\n")
			return nil
		}
		return p.printUsage(days)
	})
}

// writeUsage writes CSV (RFC 4180), a line for each day.
func (p *program) writeUsage(days []wire.DailyUse) error {
	w := csv.NewWriter(p.out)
	rows := [][]string{{
		"day", "service", "instance", "requests", "received_bytes", "sent_bytes",
		"awake_seconds", "dozing_seconds", "cpu_seconds", "memory_gib_hours", "storage_bytes",
	}}
	whole := func(n int64) string { return strconv.FormatInt(n, 10) }
	number := func(f float64, digits int) string { return strconv.FormatFloat(f, 'f', digits, 64) }
	memory := func(f float64) string { return number(f, 6) }
	for _, d := range days {
		rows = append(rows, []string{
			d.Day, d.ID.Service, d.ID.Name, whole(d.Requests), whole(d.ReceivedBytes), whole(d.SentBytes),
			number(d.AwakeSeconds, 0), number(d.DozingSeconds, 0), number(d.CPUSeconds, 3), known(d.MemoryGiBHours, memory, ""), known(d.StorageBytes, whole, ""),
		})
	}
	return w.WriteAll(rows)
}

// printUsage prints a line for each instance, with the sum of its days.
func (p *program) printUsage(days []wire.DailyUse) error {
	sums := map[tenant.ID]*wire.DailyUse{}
	var order []tenant.ID
	for _, d := range days {
		sum := sums[d.ID]
		if sum == nil {
			sum = &wire.DailyUse{}
			sums[d.ID] = sum
			order = append(order, d.ID)
		}
		sum.Requests += d.Requests
		sum.ReceivedBytes += d.ReceivedBytes
		sum.SentBytes += d.SentBytes
		sum.AwakeSeconds += d.AwakeSeconds
		sum.DozingSeconds += d.DozingSeconds
		sum.CPUSeconds += d.CPUSeconds
		if memory := d.MemoryGiBHours; memory != nil {
			if sum.MemoryGiBHours != nil {
				*memory += *sum.MemoryGiBHours
			}
			sum.MemoryGiBHours = memory
		}
		if data := d.StorageBytes; data != nil && (sum.StorageBytes == nil || *data > *sum.StorageBytes) {
			sum.StorageBytes = data
		}
	}
	slices.SortFunc(order, func(a, b tenant.ID) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Name, b.Name))
	})
	memory := func(f float64) string { return fmt.Sprintf("%.3f", f) }
	rows := [][]string{{"INSTANCE", "REQUESTS", "IN", "OUT", "AWAKE", "DOZING", "CPU", "GIB HOURS", "DATA"}}
	for _, id := range order {
		s := sums[id]
		rows = append(rows, []string{
			id.String(), strconv.FormatInt(s.Requests, 10), tenant.FormatBytes(s.ReceivedBytes), tenant.FormatBytes(s.SentBytes),
			span(s.AwakeSeconds), span(s.DozingSeconds), span(s.CPUSeconds), known(s.MemoryGiBHours, memory, "-"), known(s.StorageBytes, tenant.FormatBytes, "-"),
		})
	}
	return p.printTable(rows)
}

// known shows a figure, or otherwise where it is not known.
func known[T any](v *T, show func(T) string, otherwise string) string {
	if v == nil {
		return otherwise
	}
	return show(*v)
}

// span is a time for people, to the second, or less where it is short.
func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
