package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func newSecretCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Give instances keys and passwords",
		Long: `Give instances keys and passwords that are in no file of yours, no process list, no log and
no answer of the API. Secrets of a service are for all its instances, those of an instance
for it alone, and come first where both have one of a name.

The app finds each in a file that nobody else can read: $CREDENTIALS_DIRECTORY/NAME. With
--env it is in the environment variable NAME too. A change takes effect with the next start.`,
		Example: "  ten secret set notes:alice STRIPE_KEY < key.txt\n  ten secret set notes SMTP_PASSWORD --env\n  ten secret ls notes:alice",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSecretSetCommand(p), newSecretListCommand(p), newSecretRemoveCommand(p))
	return cmd
}

func newSecretSetCommand(p *program) *cobra.Command {
	var file string
	var env, asJSON bool
	cmd := &cobra.Command{
		Use:   "set NAME SECRET",
		Short: "Set a secret, with the value from standard input",
		Long: `Set a secret of an instance or a service. The value is read from standard input, where one
line break at its end is left out; on a terminal it is asked for, and not shown. With
--from-file it is what the file has. It may have 16 KiB. Another value for a secret leaves it in
the app's environment, or out of it; --env and --env=false change that.`,
		Example: "  ten secret set notes:alice STRIPE_KEY < key.txt\n  ten secret set notes TLS_KEY --from-file key.pem\n  printf %s \"$KEY\" | ten secret set notes:alice STRIPE_KEY --env",
		Args:    secretArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			value, err := p.secretValue(cmd.Context(), id, args[1], file)
			if err != nil {
				return err
			}
			if err := tenant.CheckSecret(args[1], value, env); err != nil {
				return err
			}
			var inEnv *bool // as it was
			if cmd.Flags().Changed("env") {
				inEnv = &env
			}
			return p.ask(func(c *client.Client) error {
				out, err := c.SetSecret(cmd.Context(), id, args[1], value, inEnv)
				if err != nil {
					return err
				}
				if err := p.say(done{fmt.Sprintf("%s has the secret %s", out.Of, out.Name), out}, asJSON); err != nil {
					return err
				}
				p.sayRunning(id, out, "get")
				return nil
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "from-file", "", "a `file` that has the value, to its last byte")
	flags.BoolVar(&env, "env", false, "in the app's environment too; false takes it out")
	flags.BoolVar(&asJSON, "json", false, "print a line of JSON")
	return cmd
}

// sayRunning tells of processes that a change does not reach.
func (p *program) sayRunning(id tenant.ID, out wire.SecretChange, what string) {
	switch {
	case out.Running == 0:
	case id.Name != "":
		p.note("%s runs; it %ss it with its next start: ten restart %s\n", out.Of, what, out.Of)
	case out.Running == 1:
		p.note("one instance runs; it %ss it with its next start\n", what)
	default:
		p.note("%d instances run; they %s it with their next start\n", out.Running, what)
	}
}

// secretValue reads a secret's value from the file, or from standard input.
func (p *program) secretValue(ctx context.Context, id tenant.ID, name, file string) ([]byte, error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, &tenant.Error{Code: tenant.CodeInvalid, Op: "set secret", Msg: "the value cannot be read: " + err.Error(), Hint: "--from-file takes the path of a file", Err: err}
		}
		defer f.Close()
		return readSecret(f)
	}
	if !isTerminal(p.in) {
		value, err := readSecret(p.in)
		return withoutBreak(value), err
	}
	of := id.String()
	if id.Name == "" {
		of = id.Service
	}
	p.note("Value of %s for %s: ", name, of)
	show := p.hideInput()
	line, err := readLine(ctx, p.in)
	show()
	p.note("\n")
	if err != nil {
		return nil, &tenant.Error{Code: tenant.CodeUnavailable, Op: "set secret", Msg: "nothing is set: no value", Err: err}
	}
	return withoutBreak([]byte(line)), nil
}

// readSecret reads a little more than the most that a secret may have.
func readSecret(r io.Reader) ([]byte, error) {
	value, err := io.ReadAll(io.LimitReader(r, tenant.MaxSecretSize+3))
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	return value, nil
}

// withoutBreak is a value without the line break at its end.
func withoutBreak(value []byte) []byte {
	value = bytes.TrimSuffix(value, []byte("\n"))
	return bytes.TrimSuffix(value, []byte("\r"))
}

// hideInput has the terminal not show what is typed, until the function that it gives is
// called (termios(3), ECHO).
func (p *program) hideInput() (show func()) {
	f, ok := p.in.(*os.File)
	if !ok {
		return func() {}
	}
	was, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return func() {}
	}
	hidden := *was
	hidden.Lflag &^= unix.ECHO
	_ = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &hidden)
	return func() { _ = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, was) }
}

// secretArgs are the name of an instance or a service, and that of a secret.
func secretArgs(cmd *cobra.Command, args []string) error {
	if len(args) != 2 {
		return usage(cmd, fmt.Sprintf("`%s` needs an instance or a service, and the name of a secret, such as notes:alice STRIPE_KEY", cmd.CommandPath()))
	}
	_, err := parseTarget(args[0])
	return errors.Join(err, tenant.CheckSecretName(args[1]))
}

func newSecretListCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls NAME",
		Aliases: []string{"list"},
		Short:   "List the names of secrets",
		Long:    "List the secrets that an instance gets, or those of a service. Nothing shows their values.",
		Example: "  ten secret ls notes:alice\n  ten secret ls notes --json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, "`ten secret ls` needs an instance or a service, such as notes:alice")
			}
			_, err := parseTarget(args[0])
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			return p.ask(func(c *client.Client) error {
				list, err := c.Secrets(cmd.Context(), id)
				switch {
				case err != nil:
					return err
				case asJSON:
					return printJSON(p.out, list)
				case len(list.Secrets) == 0:
					p.note("%s has no secrets; `ten secret set %s NAME` sets one\n", args[0], args[0])
					return nil
				}
				rows := [][]string{{"SECRET", "OF", "ENV", "CHANGED"}}
				for _, s := range list.Secrets {
					env := "-"
					if s.Env {
						env = "yes"
					}
					rows = append(rows, []string{s.Name, s.Of, env, ago(p.now(), s.Changed, "-")})
				}
				return p.printTable(rows)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newSecretRemoveCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "rm NAME SECRET",
		Aliases: []string{"remove"},
		Short:   "Take a secret away",
		Long:    "Take a secret away from an instance or a service. Processes that run have it until they end.",
		Example: "  ten secret rm notes:alice STRIPE_KEY",
		Args:    secretArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			return p.ask(func(c *client.Client) error {
				out, err := c.RemoveSecret(cmd.Context(), id, args[1])
				if err != nil {
					return err
				}
				text := fmt.Sprintf("%s has the secret %s no more", out.Of, out.Name)
				if !out.Was {
					text = fmt.Sprintf("%s had no secret %s", out.Of, out.Name)
				}
				if err := p.say(done{text, out}, asJSON); err != nil {
					return err
				}
				if out.Was {
					p.sayRunning(id, out, "lose")
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON")
	return cmd
}
