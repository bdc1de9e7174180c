package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// logsOptions are the flags of `ten logs`.
type logsOptions struct {
	follow bool
	lines  int
	since  string
	json   bool
}

func newLogsCommand(p *program) *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:   "logs INSTANCE",
		Short: "Show what an instance prints",
		Long: `Show what an instance prints, and what systemd says about it, oldest line first.
systemd's lines begin with "systemd: ".

Control characters and colours are left out; --json has them.`,
		Example: "  ten logs -f notes:alice\n  ten logs --since 10m -n -1 notes:alice",
		Args:    oneInstanceArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := tenant.ParseID(args[0])
			if err != nil {
				return err
			}
			return p.logs(cmd.Context(), id, o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.follow, "follow", "f", false, "wait for new lines until interrupted")
	flags.IntVarP(&o.lines, "lines", "n", 100, "show the last `N` lines, -1 for all")
	flags.StringVar(&o.since, "since", "", "show nothing older than `TIME`: a duration (10m) or RFC 3339")
	flags.BoolVar(&o.json, "json", false, "print a line of JSON per entry")
	return cmd
}

func (p *program) logs(ctx context.Context, id tenant.ID, o logsOptions) error {
	since, err := parseSince(p.now(), o.since)
	if err != nil {
		return err
	}
	if o.lines < -1 {
		return &tenant.Error{
			Code: tenant.CodeInvalid, Op: "logs", ID: id,
			Msg:  fmt.Sprintf("-n %d is not a number of lines", o.lines),
			Hint: "use 0 or more, or -1 for all",
		}
	}
	return p.ask(func(c *client.Client) error {
		for e, err := range c.Logs(ctx, id, client.LogOptions{Lines: o.lines, Since: since, Follow: o.follow}) {
			if err != nil && o.follow && ctx.Err() != nil {
				return nil // interrupting is how following ends
			}
			if err != nil {
				return err
			}
			if o.json {
				err = printJSONLine(p.out, e)
			} else {
				err = printEntry(p.out, e)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// parseSince reads --since; empty is no bound.
func parseSince(now time.Time, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "logs", Err: err,
			Msg:  fmt.Sprintf("--since %q is neither a duration nor a time", text),
			Hint: "write 10m, 36h or 2006-01-02T15:04:05Z",
		}
	}
	return t, nil
}

// entryTime is how an entry's time is shown, in local time.
const entryTime = "2006-01-02 15:04:05.000"

// printEntry prints an entry; a message's further lines stand below its first.
func printEntry(w io.Writer, e wire.LogEntry) error {
	head := e.Time.Local().Format(entryTime) + "  "
	if e.Manager {
		head += "systemd: "
	}
	var b strings.Builder
	for line := range strings.SplitSeq(e.Message, "\n") {
		b.WriteString(head + clean(strings.TrimSuffix(line, "\r")) + "\n")
		head = strings.Repeat(" ", len(head))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
