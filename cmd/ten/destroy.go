package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

func newDestroyCommand(p *program) *cobra.Command {
	var yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "destroy INSTANCE...",
		Short: "Remove instances and their data",
		Long: `Stop instances, remove their data and forget them. There is no way back, so it asks
first; without a terminal to ask on it needs --yes.`,
		Example: "  ten destroy notes:alice",
		Args:    instanceArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				if err := p.confirmDestroy(cmd.Context(), args); err != nil {
					return err
				}
			}
			return p.each(cmd.Context(), "destroy", args, asJSON, destroy)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON per instance")
	return cmd
}

func destroy(ctx context.Context, c *client.Client, id tenant.ID) (done, error) {
	if err := c.Destroy(ctx, id); err != nil {
		return done{}, notToDestroy(err)
	}
	return done{fmt.Sprintf("%s and its data are gone", id), struct {
		ID        tenant.ID `json:"id"`
		Destroyed bool      `json:"destroyed"`
	}{id, true}}, nil
}

// confirmDestroy asks whether to go on; nil is yes. Instances that do not exist are
// found before anybody is asked.
func (p *program) confirmDestroy(ctx context.Context, args []string) error {
	if !isTerminal(p.in) {
		return &tenant.Error{
			Code: tenant.CodeInvalid, Op: "destroy",
			Msg:  "nothing is destroyed: there is no terminal to ask on whether the data may go",
			Hint: "--yes destroys without asking",
		}
	}
	if err := p.checkExist(ctx, args); err != nil {
		return err
	}
	p.note("Destroy %s with all data? [y/N] ", strings.Join(args, ", "))
	answer, err := readLine(ctx, p.in)
	if err != nil {
		p.note("\n")
		return &tenant.Error{Code: tenant.CodeUnavailable, Op: "destroy", Msg: "nothing is destroyed: no answer", Err: err}
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return &tenant.Error{Code: tenant.CodeConflict, Op: "destroy", Msg: "nothing is destroyed"}
}

// checkExist gives an error if one of the instances does not exist.
func (p *program) checkExist(ctx context.Context, args []string) error {
	ids, err := parseIDs(args)
	if err != nil {
		return err
	}
	return p.ask(func(c *client.Client) error {
		for _, id := range ids {
			if _, err := c.Get(ctx, id); err != nil {
				return notToDestroy(err)
			}
		}
		return nil
	})
}

// notToDestroy has the error of an instance that does not exist say which do: who wants one
// removed does not want it created.
func notToDestroy(err error) error {
	var e *tenant.Error
	if !errors.As(err, &e) || e.Code != tenant.CodeNotFound {
		return err
	}
	told := *e
	told.Hint = "`ten ps` lists those that there are"
	return &told
}

// readLine reads a line, or until ctx ends. In that case a goroutine is left behind in a
// read that only the terminal can end; the program is about to.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	type result struct {
		line string
		err  error
	}
	read := make(chan result, 1)
	go func() {
		line, err := bufio.NewReader(in).ReadString('\n')
		if errors.Is(err, io.EOF) && line != "" {
			err = nil
		}
		read <- result{line, err}
	}()
	select {
	case r := <-read:
		return r.line, r.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// isTerminal reports whether somebody types what r gives.
func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
