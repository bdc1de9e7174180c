package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

// instanceArgs checks that a command is given names of instances, one at least.
func instanceArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usage(cmd, fmt.Sprintf("`%s` needs an instance, such as notes:alice", cmd.CommandPath()))
	}
	_, err := parseIDs(args)
	return err
}

// oneInstanceArg checks that a command is given the name of one instance.
func oneInstanceArg(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(cmd, fmt.Sprintf("`%s` needs one instance, such as notes:alice", cmd.CommandPath()))
	}
	return instanceArgs(cmd, args)
}

func parseIDs(args []string) ([]tenant.ID, error) { return parseAll(args, tenant.ParseID) }

func parseAll(args []string, parse func(string) (tenant.ID, error)) ([]tenant.ID, error) {
	ids := make([]tenant.ID, len(args))
	for i, arg := range args {
		id, err := parse(arg)
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	return ids, nil
}

// done is what a command says of an instance that it succeeded with.
type done struct {
	text string // a sentence without its stop
	json any
}

// operation does to one instance what a command is for.
type operation func(ctx context.Context, c *client.Client, id tenant.ID) (done, error)

// each does an operation to the named instances one after the other and reports on
// each. Names are looked at before anything is done. When it goes wrong with one it goes
// on with the next, unless there is no daemon or ctx ends.
func (p *program) each(ctx context.Context, verb string, args []string, asJSON bool, do operation) error {
	ids, err := parseIDs(args)
	if err != nil {
		return err
	}
	return p.ask(func(c *client.Client) error {
		return p.eachOf(ctx, c, verb, ids, asJSON, func(ctx context.Context, c *client.Client, id tenant.ID) (done, error) {
			stop := p.progress(verb + " " + id.String())
			defer stop()
			return do(ctx, c, id)
		})
	})
}

// eachOf is each for who has the names and the daemon. A name may be that of a service, in an
// ID without a name.
func (p *program) eachOf(ctx context.Context, c *client.Client, verb string, ids []tenant.ID, asJSON bool, do operation) error {
	worst := exitOK
	for _, id := range ids {
		d, err := do(ctx, c, id)
		switch {
		case errors.Is(err, client.ErrNoDaemon):
			return err
		case errors.Is(err, errSkip):
		case err != nil && id.Name == "":
			p.report(err)
			worst = max(worst, exitCode(err))
		case err != nil:
			p.reportFor(verb, id, err)
			worst = max(worst, exitCode(err))
		default:
			if err := p.say(d, asJSON); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	if worst != exitOK {
		return reported(worst)
	}
	return nil
}

// errSkip is what an operation gives that has nothing to say.
var errSkip = errors.New("nothing to say")

// say prints what was done.
func (p *program) say(d done, asJSON bool) error {
	if asJSON {
		return printJSONLine(p.out, d.json)
	}
	_, err := fmt.Fprintln(p.out, clean(d.text))
	return err
}

// newEachCommand makes a command that does an operation to instances.
func newEachCommand(p *program, verb, short, long string, do operation) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     verb + " INSTANCE...",
		Short:   short,
		Long:    long,
		Example: fmt.Sprintf("  ten %[1]s notes:alice\n  ten %[1]s notes:alice notes:bob --json", verb),
		Args:    instanceArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.each(cmd.Context(), verb, args, asJSON, do)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON per instance")
	return cmd
}
