package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// logsOptions are the flags of `ten logs`, as they were typed.
type logsOptions struct {
	follow                            bool
	lines                             string
	since, until, level, search, grep string
	json                              bool
}

func newLogsCommand(p *program) *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:   "logs [SERVICE | INSTANCE]",
		Short: "Show what instances print, and search it",
		Long: `Show what an instance prints, and what systemd says about it, oldest line first; or
all instances of a service, or all. systemd's lines begin with "systemd: ".

With --search, --grep or --level it shows the last lines that fit. The times are a
duration (10m, 36h, 7d), or a moment in RFC 3339 (2006-01-02T15:04:05Z).

Control characters and colours are left out; --json has them.`,
		Example: `  ten logs -f notes:alice
  ten logs --since 7d --search "payment failed" notes:alice
  ten logs --level warning -n 20 notes`,
		Args: whomArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.logs(cmd.Context(), &o, args, func(c *client.Client, whom tenant.ID, query client.LogOptions) iter.Seq2[wire.LogEntry, error] {
				if whom.Name == "" {
					return c.AllLogs(cmd.Context(), whom.Service, query)
				}
				return c.Logs(cmd.Context(), whom, query)
			})
		},
	}
	o.addFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.level, "level", "", "leave out what is less urgent than `LEVEL`: err, warning, info, debug or another of syslog's")
	flags.StringVar(&o.search, "search", "", "show lines with this `TEXT`, whatever the case of its letters")
	flags.StringVar(&o.grep, "grep", "", "show lines that match this regular `EXPRESSION`; (?i) at its start ignores case")
	return cmd
}

// addFlags adds what `ten logs` and `ten events` have both.
func (o *logsOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVarP(&o.follow, "follow", "f", false, "wait for new lines until interrupted")
	flags.StringVarP(&o.lines, "lines", "n", "100", "show the last `N` lines, -1 for all")
	flags.StringVar(&o.since, "since", "", "show nothing older than `TIME`")
	flags.StringVar(&o.until, "until", "", "show nothing newer than `TIME`")
	flags.BoolVar(&o.json, "json", false, "print a line of JSON per entry")
}

// whomArg accepts one instance, one service, or nobody.
func whomArg(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage(cmd, fmt.Sprintf("`%s` takes one instance or one service, not %d", cmd.CommandPath(), len(args)))
	}
	return nil
}

// parseWhom gives what whomArg accepts; a service is an ID without the second half.
func parseWhom(args []string) (tenant.ID, error) {
	switch {
	case len(args) == 0:
		return tenant.ID{}, nil
	case strings.Contains(args[0], ":"):
		return tenant.ParseID(args[0])
	}
	return tenant.ID{Service: args[0]}, tenant.CheckLabel("service", args[0])
}

// parse reads what was typed.
func (o logsOptions) parse(now time.Time) (q client.LogOptions, err error) {
	q = client.LogOptions{Search: o.search, Grep: o.grep, Follow: o.follow}
	invalid := func(msg, hint string, err error) (client.LogOptions, error) {
		return q, &tenant.Error{Code: tenant.CodeInvalid, Op: "logs", Msg: msg, Hint: hint, Err: err}
	}
	if q.Lines, err = strconv.Atoi(o.lines); err != nil || q.Lines < -1 {
		return invalid(fmt.Sprintf("-n %s is not a number of lines", o.lines), "use 0 or more, or -1 for all", err)
	}
	if q.Since, err = parseMoment(now, "--since", o.since); err != nil {
		return q, err
	}
	if q.Until, err = parseMoment(now, "--until", o.until); err != nil {
		return q, err
	}
	if o.level != "" {
		if q.Level, err = tenant.ParseLevel(o.level); err != nil {
			return q, err
		}
	}
	if _, err := regexp.Compile(o.grep); err != nil {
		return invalid(fmt.Sprintf("--grep %.80q is not a regular expression", o.grep),
			"for a plain text use --search; its syntax is that of https://golang.org/s/re2syntax", err)
	}
	switch {
	case o.follow && !q.Until.IsZero():
		return invalid("a log that is followed has no end time", "leave out one of -f and --until", nil)
	case !q.Until.IsZero() && q.Since.After(q.Until):
		return invalid("--since is after --until", "exchange the two", nil)
	}
	return q, nil
}

// logs prints the entries that read gives for what was typed.
func (p *program) logs(ctx context.Context, o *logsOptions, args []string, read func(*client.Client, tenant.ID, client.LogOptions) iter.Seq2[wire.LogEntry, error]) error {
	query, err := o.parse(p.now())
	if err != nil {
		return err
	}
	whom, err := parseWhom(args)
	if err != nil {
		return err
	}
	write := printEntry
	if o.json {
		write = printEntryJSON
	}
	return p.ask(func(c *client.Client) error {
		for e, err := range read(c, whom, query) {
			if err != nil && o.follow && ctx.Err() != nil {
				return nil // interrupting is how following ends
			}
			if err != nil {
				return err
			}
			if err := write(p.out, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// parseMoment reads a time before now or a moment; empty is the zero time.
func parseMoment(now time.Time, flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "logs", Err: err,
			Msg:  fmt.Sprintf("%s %q is neither a duration nor a time", flag, text),
			Hint: "write 10m, 36h, 7d or 2006-01-02T15:04:05Z",
		}
	}
	return t, nil
}

// entryTime is how an entry's time is shown, in local time.
const entryTime = "2006-01-02 15:04:05.000"

// printEntry prints an entry; a message's further lines stand below its first.
func printEntry(w io.Writer, e wire.LogEntry) error {
	head := e.Time.Local().Format(entryTime) + "  "
	if !e.ID.IsZero() {
		head += e.ID.String() + "  "
	}
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

// printEntryJSON prints an entry as the API has it.
func printEntryJSON(w io.Writer, e wire.LogEntry) error { return printJSONLine(w, e) }
