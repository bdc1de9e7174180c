package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func newDoctorCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Tell what this machine can do for instances, and what is missing",
		Long: `Tell what this machine can do for instances, and what to do about the rest. It asks
the daemon; where none runs it looks for itself.

A "no" means that what it names is refused in tenement.toml, or does without. The exit
code is 0 all the same.`,
		Example: "  ten doctor\n  ten doctor --json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return p.doctor(cmd.Context(), asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

func (p *program) doctor(ctx context.Context, asJSON bool) error {
	stop := p.progress("look at the machine")
	list, err := p.checks(ctx)
	stop()
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(p.out, list)
	}
	return printChecks(p.out, p.screen(p.out), list)
}

// checks asks the daemon. Where none runs, and none was asked for by name, this process
// looks at the machine.
func (p *program) checks(ctx context.Context) (list []wire.Check, err error) {
	addr, err := p.address()
	if err != nil {
		return nil, err
	}
	err = p.ask(func(c *client.Client) (err error) {
		list, err = c.Doctor(ctx)
		return err
	})
	if !errors.Is(err, client.ErrNoDaemon) || addr.chosen || p.doctorLocal == nil {
		return list, err
	}
	p.note("no daemon answers at %s; looking without one\n", addr.path)
	local, err := p.doctorLocal(ctx)
	var e *tenant.Error
	if errors.As(err, &e) && e.Code == tenant.CodeUnsupported {
		// That Tenement cannot run here at all is what was asked for.
		return []wire.Check{{Name: "systemd", Detail: e.Msg, Hint: e.Hint}}, nil
	}
	return wireChecks(local), err
}

// printChecks prints a line per check and a hint below each that is not OK.
func printChecks(w io.Writer, s screen, list []wire.Check) error {
	width := 0
	for _, c := range list {
		width = max(width, utf8.RuneCountInString(oneCell(c.Name)))
	}
	var b strings.Builder
	for _, c := range list {
		mark := "ok"
		if !c.OK {
			mark = "no"
		}
		fmt.Fprintf(&b, "%s  %-*s  %s\n", s.paint(styleOf(mark), mark), width, oneCell(c.Name), oneCell(c.Detail))
		if !c.OK && c.Hint != "" {
			fmt.Fprintf(&b, "    hint: %s\n", oneCell(c.Hint))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
