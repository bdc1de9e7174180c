package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

func newPauseCommand(p *program) *cobra.Command {
	var message, length string
	var asJSON bool
	var d time.Duration
	cmd := &cobra.Command{
		Use:   "pause NAME...",
		Short: "Answer requests with a maintenance page",
		Long: `Answer requests for an instance, or for all instances of a service, with status 503, a
message and Retry-After. Nothing but a command wakes what is paused: neither requests
nor its schedule. Requests in flight end, and the process rests as always; "ten stop"
stops it. A pause outlasts restarts of the daemon.`,
		Example: "  ten pause notes:alice --message \"Back at noon\" --for 30m\n  ten pause notes",
		Args: func(cmd *cobra.Command, args []string) error {
			if length != "" {
				var err error
				if d, err = tenant.ParseSeconds(length); err != nil || d == 0 {
					return usage(cmd, fmt.Sprintf("%.40q is not a duration: write --for 30m", length))
				}
			}
			if err := tenant.CheckPauseMessage(message); err != nil {
				return err
			}
			return pauseArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.eachPause(cmd.Context(), "pause", args, asJSON, func(ctx context.Context, c *client.Client, id tenant.ID) (done, error) {
				out, err := c.Pause(ctx, id, message, d)
				if err != nil {
					return done{}, err
				}
				text := out.Name + " is paused"
				if !out.Until.IsZero() {
					text += " until " + clock(p.now(), out.Until)
				}
				return done{text, out}, nil
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&message, "message", "m", "", "what visitors are told, one line of `text`")
	flags.StringVar(&length, "for", "", "end by itself after this `duration`, such as 30m")
	flags.BoolVar(&asJSON, "json", false, "print a line of JSON for each")
	return cmd
}

func newUnpauseCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "unpause NAME...",
		Aliases: []string{"resume"},
		Short:   "Have requests served again",
		Long:    "End what `ten pause` has begun, of an instance or of a service.",
		Example: "  ten unpause notes:alice",
		Args:    pauseArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.eachPause(cmd.Context(), "unpause", args, asJSON, func(ctx context.Context, c *client.Client, id tenant.ID) (done, error) {
				out, err := c.Unpause(ctx, id)
				switch {
				case err != nil:
					return done{}, err
				case !out.Was:
					return done{out.Name + " was not paused", out}, nil
				}
				return done{out.Name + " is served again", out}, nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each")
	return cmd
}

// pauseArgs checks that a command is given instances or services.
func pauseArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usage(cmd, fmt.Sprintf("`%s` needs an instance or a service, such as notes:alice or notes", cmd.CommandPath()))
	}
	_, err := parseAll(args, parseTarget)
	return err
}

// parseTarget reads the name of an instance, or that of a service into an ID without a
// name.
func parseTarget(arg string) (tenant.ID, error) {
	if strings.Contains(arg, ":") {
		return tenant.ParseID(arg)
	}
	return tenant.ID{Service: arg}, tenant.CheckLabel("service", arg)
}

// eachPause is each for names of instances and services.
func (p *program) eachPause(ctx context.Context, verb string, args []string, asJSON bool, do operation) error {
	ids, err := parseAll(args, parseTarget)
	if err != nil {
		return err
	}
	return p.ask(func(c *client.Client) error { return p.eachOf(ctx, c, verb, ids, asJSON, do) })
}

// describePause says it for a table.
func describePause(p tenant.Pause, now time.Time) string {
	text := "paused"
	if p.Service {
		text = "service paused"
	}
	if !p.Until.IsZero() {
		text += " until " + clock(now, p.Until)
	}
	if p.Message != "" {
		text += ": " + p.Message
	}
	return text
}
