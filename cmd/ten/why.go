package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func newWhyCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "why INSTANCE",
		Short: "Tell why an instance is awake, asleep or failed",
		Long: `Tell why an instance is in its state: what keeps it awake and for how long, when it
dozes and sleeps if nothing happens, what woke it last and how long that took, why it
went to sleep or failed, when it is tried again, and its last lines.`,
		Example: "  ten why notes:alice",
		Args:    oneInstanceArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := tenant.ParseID(args[0])
			if err != nil {
				return err
			}
			return p.why(cmd.Context(), id, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) why(ctx context.Context, id tenant.ID, asJSON bool) error {
	return p.ask(func(c *client.Client) error {
		why, err := c.Why(ctx, id)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(p.out, why)
		}
		for _, line := range explainWhy(why, p.now()) {
			if _, err := fmt.Fprintln(p.out, clean(line)); err != nil {
				return err
			}
		}
		return nil
	})
}

// explainWhy puts it in words.
func explainWhy(w wire.Why, now time.Time) []string {
	head := fmt.Sprintf("%s is %s", w.ID, w.State)
	if !w.Since.IsZero() {
		head += fmt.Sprintf(" since %s (%s)", clock(now, w.Since), age(now.Sub(w.Since)))
	}
	lines := []string{head}
	add := func(format string, args ...any) { lines = append(lines, "  "+fmt.Sprintf(format, args...)) }
	if w.Paused != nil {
		name := w.ID.String()
		if w.Paused.Service {
			name = w.ID.Service
		}
		add("%s; requests get 503 and wake nothing; `ten unpause %s` ends that", describePause(*w.Paused, now), name)
	}
	if w.NoService {
		add("tenement.toml has no service %s any more: its host is a 404, and nothing wakes it", w.ID.Service)
	}
	switch w.State {
	case tenant.Awake, tenant.Dozing:
		if !w.CheckedAt.IsZero() {
			add("%s", explainHealth(w, now))
		}
		for _, line := range explainHolds(w, now) {
			add("%s", line)
		}
	default:
		for _, line := range explainRest(w, now) {
			add("%s", line)
		}
	}
	switch {
	case w.NextRelease != "":
		add("it runs with release %s, and its next start gets %s", w.Release, w.NextRelease)
	case w.Release != "":
		add("its release is %s", w.Release)
	}
	if w.WokenBy != "" {
		add("woken last at %s: %s", clock(now, w.WokenAt), w.WokenBy)
	}
	if last := w.LastWake; last != nil {
		add("that took %s: queue %s, load %s, unit start %s, app ready %s, health %s", millis(last.TotalMS), millis(last.QueueMS),
			millis(last.LoadMS), millis(last.UnitStartMS), millis(last.AppReadyMS), millis(last.HealthMS))
	}
	if !w.ScheduledAt.IsZero() {
		add("its schedule %q wakes it at %s", w.Entry, clock(now, w.ScheduledAt))
	}
	add("last active %s; started from sleep %s, thawed %s", lastActive(now, w.Instance),
		tenant.Count(w.Wakes, "time", "times"), tenant.Count(w.Thaws, "time", "times"))
	if len(w.Log) > 0 {
		lines = append(lines, "last lines:")
		for _, line := range w.Log {
			add("%s", line)
		}
	}
	return lines
}

// explainHealth says what the checks of an awake instance have found.
func explainHealth(w wire.Why, now time.Time) string {
	text := fmt.Sprintf("%s, last checked at %s", w.Health, clock(now, w.CheckedAt))
	if w.FailedChecks > 0 {
		text += fmt.Sprintf("; checks that failed in a row: %d (%s)", w.FailedChecks, w.Reason)
	}
	return text
}

// explainHolds says what keeps a running instance from resting, and when it will rest.
func explainHolds(w wire.Why, now time.Time) []string {
	var lines []string
	for _, h := range w.Holds {
		line := "held by: " + h.String()
		if !h.Until.IsZero() {
			line += ", until " + clock(now, h.Until)
			if h.Kind == tenant.HoldCPU {
				line += " at the latest"
			}
		}
		lines = append(lines, line)
	}
	var will []string
	for _, next := range []struct {
		what string
		at   time.Time
	}{{"dozes", w.DozeAt}, {"sleeps", w.SleepAt}} {
		if !next.at.IsZero() {
			will = append(will, next.what+" at "+clock(now, next.at))
		}
	}
	switch {
	case len(will) > 0:
		lines = append(lines, "if nothing happens it "+strings.Join(will, " and "))
	case w.State == tenant.Awake:
		lines = append(lines, "it stays awake until it is stopped")
	default:
		lines = append(lines, "it stays like this until a request comes, or it is stopped")
	}
	return lines
}

// explainRest says why an instance does not run.
func explainRest(w wire.Why, now time.Time) []string {
	var lines []string
	if w.State == tenant.Asleep || w.State == tenant.Failed {
		switch rested := w.Rested; {
		case rested == "" && w.Reason == "":
			lines = append(lines, "because: it slept when the daemon started")
		case w.Reason == "" || w.Reason == rested:
			lines = append(lines, "because: "+rested)
		case rested == "":
			lines = append(lines, "because: "+w.Reason)
		default:
			lines = append(lines, "because: "+rested+": "+w.Reason)
		}
	} else if w.Reason != "" {
		lines = append(lines, "because: "+w.Reason)
	}
	switch {
	case w.Spent:
		lines = append(lines, fmt.Sprintf("it has failed %s and is not tried again; `ten restart %s` does", often(w.Failures), w.ID))
	case !w.NextTry.IsZero():
		lines = append(lines, fmt.Sprintf("it has failed %s; no request starts it before %s", often(w.Failures), clock(now, w.NextTry)))
	}
	if w.Armed {
		lines = append(lines, "armed: its sandbox is ready, and a wake starts the app and nothing else")
	}
	for _, l := range w.Leases {
		lines = append(lines, fmt.Sprintf("once awake it is kept so by a lease of the %s, until %s", l.Holder, clock(now, l.Until)))
	}
	return lines
}

func often(times int) string {
	if times == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", times)
}
