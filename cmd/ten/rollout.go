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

// The defaults of a rollout.
const (
	rolloutBatch = 5
	rolloutPause = 5 * time.Second
)

// rolloutOptions are the flags of `ten rollout`.
type rolloutOptions struct {
	release, canary string
	batch           int
	pause           time.Duration
	detach, json    bool
}

func newRolloutCommand(p *program) *cobra.Command {
	var o rolloutOptions
	cmd := &cobra.Command{
		Use:   "rollout SERVICE --release NAME",
		Short: "Give the instances of a service another release",
		Long: `Give the instances of a service another release: {release} in its command, workdir and
env. Those asleep have it with their next start. The others are restarted, a batch at a
time, with their requests held, and each batch is watched for --pause.

With --canary some come first, a share of all ("5%", awake ones before others) or those
that are named ("alice,bob"); all others, those asleep included, wait until they were
well. An instance that is created meanwhile begins with the release before, and is
changed like the others.

The rollout goes back by itself, and all get what they had, when
  - an instance does not start with the release, or does not get healthy; it is started
    with the one before at once, within the same wake
  - one of the batch that is watched fails, ends or is unhealthy
  - 5 answers with the release or more were 5xx, and their share is more than twice that
    of the other releases in ten minutes, and two percentage points above it.

It goes on without this command, and after a restart of the daemon.`,
		Example: "  ten rollout notes --release v2\n  ten rollout notes --release v2 --canary 5% --batch 10 --pause 30s\n  ten rollout pause notes\n  ten rollback notes",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || o.release == "" {
				return usage(cmd, "`ten rollout` needs a service and --release")
			}
			if err := tenant.CheckLabel("service", args[0]); err != nil {
				return err
			}
			return tenant.CheckRelease(o.release)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := o.request(cmd, args[0])
			if err != nil {
				return err
			}
			return p.ask(func(c *client.Client) error {
				r, err := c.BeginRollout(cmd.Context(), args[0], body)
				if err != nil {
					return err
				}
				return p.followRollout(cmd.Context(), c, r, tenant.RolloutDone, o)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.release, "release", "", "the `name` of the release")
	flags.StringVar(&o.canary, "canary", "", "who comes first: a `share` such as 5%, or names")
	flags.IntVar(&o.batch, "batch", rolloutBatch, "how many instances to restart at a time")
	flags.DurationVar(&o.pause, "pause", rolloutPause, "how long to watch each batch")
	o.outputFlags(cmd)
	for _, order := range []struct{ name, short string }{
		{"pause", "Have a rollout stand still when the present batch is done"},
		{"resume", "Have a rollout go on that was paused"},
		{"abort", "End a rollout where it is: each instance keeps the release that it has"},
	} {
		cmd.AddCommand(newRolloutOrderCommand(p, order.name, order.short))
	}
	cmd.AddCommand(newRolloutStatusCommand(p))
	return cmd
}

func (o *rolloutOptions) outputFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&o.detach, "detach", "d", false, "do not wait for the end")
	cmd.Flags().BoolVar(&o.json, "json", false, "print a line of JSON per event, and one of the end")
}

// request is what the flags ask for.
func (o *rolloutOptions) request(cmd *cobra.Command, service string) (wire.RolloutRequest, error) {
	body := wire.RolloutRequest{Release: o.release}
	if o.batch < 1 {
		return body, usage(cmd, "--batch takes a number of instances")
	}
	if o.pause < 0 {
		return body, usage(cmd, "--pause cannot be negative")
	}
	body.Batch, body.PauseMS = o.batch, float64(o.pause)/float64(time.Millisecond)
	percent, isShare := strings.CutSuffix(o.canary, "%")
	switch {
	case o.canary == "":
	case isShare:
		share, err := strconv.ParseFloat(percent, 64)
		if err != nil || !(share > 0 && share <= 100) {
			return body, usage(cmd, fmt.Sprintf("--canary %.40q is no share of the instances", o.canary))
		}
		body.CanaryPercent = share
	default:
		for name := range strings.SplitSeq(o.canary, ",") {
			id, err := tenant.ParseID(service + ":" + strings.TrimPrefix(name, service+":"))
			if err != nil {
				return body, err
			}
			body.Canary = append(body.Canary, id.Name)
		}
	}
	return body, nil
}

func newRollbackCommand(p *program) *cobra.Command {
	var o rolloutOptions
	cmd := &cobra.Command{
		Use:   "rollback SERVICE",
		Short: "Give the instances of a service the release before",
		Long: `Give the instances of a service the release that they had before its last rollout. One
that goes on goes back; after one that has ended another begins, in batches like it and
without a pause.`,
		Example: "  ten rollback notes",
		Args:    oneServiceArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.ask(func(c *client.Client) error {
				r, err := c.OrderRollout(cmd.Context(), args[0], "rollback")
				if err != nil {
					return err
				}
				good := tenant.RolloutDone
				if r.State == tenant.RolloutBack {
					good = tenant.RolledBack
				}
				return p.followRollout(cmd.Context(), c, r, good, o)
			})
		},
	}
	o.outputFlags(cmd)
	return cmd
}

func newRolloutOrderCommand(p *program, order, short string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     order + " SERVICE",
		Short:   short,
		Example: "  ten rollout " + order + " notes",
		Args:    oneServiceArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.ask(func(c *client.Client) error {
				r, err := c.OrderRollout(cmd.Context(), args[0], order)
				if err != nil {
					return err
				}
				return p.say(done{describeRollout(r), r}, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON")
	return cmd
}

func newRolloutStatusCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "status SERVICE",
		Short:   "Tell of a service's latest rollout",
		Example: "  ten rollout status notes",
		Args:    oneServiceArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.ask(func(c *client.Client) error {
				r, err := c.Rollout(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(p.out, r)
				}
				return p.say(done{describeRollout(r), nil}, false)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func oneServiceArg(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(cmd, fmt.Sprintf("`%s` needs a service", cmd.CommandPath()))
	}
	return checkService(cmd, args[0])
}

// checkService reports what is wrong with an argument that is to be a service.
func checkService(cmd *cobra.Command, arg string) error {
	id, err := tenant.ParseID(arg)
	if err != nil {
		return tenant.CheckLabel("service", arg)
	}
	return &tenant.Error{
		Code: tenant.CodeInvalid, Op: "read command line",
		Msg:  fmt.Sprintf("`%s` takes a service, and %s is an instance", cmd.CommandPath(), id),
		Hint: fmt.Sprintf("`%s %s` is of all its instances; `ten why %s` tells of this one", cmd.CommandPath(), id.Service, id),
	}
}

// followRollout prints what happens in a rollout that has just begun, or turned back,
// until it ends. Any other end than the good one is an error.
func (p *program) followRollout(ctx context.Context, c *client.Client, r wire.Rollout, good tenant.RolloutState, o rolloutOptions) error {
	if o.detach {
		return p.say(done{describeRollout(r), wire.RolloutLine{Rollout: &r}}, o.json)
	}
	end, err := c.FollowRollout(ctx, r.Service, func(e tenant.RolloutEvent) error {
		return p.say(done{e.At.Local().Format("15:04:05") + "  " + e.Text, wire.RolloutLine{Event: &e}}, o.json)
	})
	if err != nil {
		var known *tenant.Error
		if errors.As(err, &known) && known.Code == tenant.CodeUnavailable {
			told := *known
			told.Hint = fmt.Sprintf("the rollout goes on; `ten rollout status %s` tells of it", r.Service)
			return &told
		}
		return err
	}
	if err := p.say(done{describeRollout(end), wire.RolloutLine{Rollout: &end}}, o.json); err != nil {
		return err
	}
	if end.State == good {
		return nil
	}
	return &tenant.Error{
		Code: tenant.CodeUnavailable, Op: "roll out",
		Msg:  fmt.Sprintf("the rollout of %s to %s is %s", r.Service, r.Release, strings.ReplaceAll(string(end.State), "-", " ")),
		Hint: fmt.Sprintf("`ten ps %s` shows who has which release, `ten logs` what an instance said", r.Service),
	}
}

// describeRollout is a rollout in one line.
func describeRollout(r wire.Rollout) string {
	text := fmt.Sprintf("%s, %s instead of %s: %s", r.Service, r.Release, r.Previous, strings.ReplaceAll(string(r.State), "-", " "))
	if r.Reason != "" {
		text += ", " + r.Reason
	}
	text += fmt.Sprintf(" (%d of %s have %s", r.Changed, tenant.Count(r.Instances, "instance", "instances"), r.Release)
	if r.Pending > 0 {
		text += fmt.Sprintf(", %d are being changed", r.Pending)
	}
	return text + ")"
}
