package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tenement.dev/internal/keeper"
	"tenement.dev/internal/tenant"
)

// program is one run of ten.
type program struct {
	world
	server string // --server
	// tokenFile is --token-file.
	tokenFile string
	// doctorLocal looks at the machine where no daemon can be asked.
	doctorLocal func(ctx context.Context) ([]keeper.Check, error)
}

// run is the whole program; it gives the exit code.
func run(ctx context.Context, args []string, w world) int {
	p := &program{world: w}
	p.doctorLocal = p.probeLocal
	root := newRootCommand(p)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	p.report(err)
	return exitCode(err)
}

// commands are all of them, in the order of the help.
func commands(p *program) []*cobra.Command {
	return []*cobra.Command{
		newInitCommand(p),
		newConfigCommand(p),
		newServeCommand(p),
		newKeeperCommand(p),
		newSpawnCommand(p),
		newPsCommand(p),
		newTopCommand(p),
		newHealthCommand(p),
		newOpenCommand(p),
		newLogsCommand(p),
		newEventsCommand(p),
		newWhyCommand(p),
		newWakeCommand(p),
		newDozeCommand(p),
		newStopCommand(p),
		newRestartCommand(p),
		newKeepAwakeCommand(p),
		newDestroyCommand(p),
		newBackupCommand(p),
		newRestoreCommand(p),
		newExportCommand(p),
		newImportCommand(p),
		newDeployCommand(p),
		newWeightCommand(p),
		newRouteCommand(p),
		newRolloutCommand(p),
		newRollbackCommand(p),
		newDomainCommand(p),
		newPauseCommand(p),
		newUnpauseCommand(p),
		newReloadCommand(p),
		newCaddyCommand(p),
		newLimitCommand(p),
		newSecretCommand(p),
		newTokenCommand(p),
		newTokenGenAlias(p),
		newUsageCommand(p),
		newDoctorCommand(p),
		newInstallCommand(p),
		newUninstallCommand(p),
		newVersionCommand(p),
		newCompletionCommand(),
		newManCommand(),
		newLeaveCommand(p),
	}
}

func newRootCommand(p *program) *cobra.Command {
	root := &cobra.Command{
		Use:   "ten",
		Short: "Run one process per customer, asleep until a request wakes it",
		Long: `Tenement runs one process per customer on one Linux server. You write an app as if
it had one customer. Tenement runs a copy for each, gives each copy a host name, puts
idle copies to sleep and wakes them with their next request. systemd does the work.

tenement.toml describes the app as a service; an instance is one copy of it, and is
called SERVICE:NAME. notes:alice answers at http://alice.notes.DOMAIN.`,
		Example: `  ten serve --port 8080 --domain localhost   # in the directory of tenement.toml
  ten spawn notes:alice
  curl http://alice.notes.localhost:8080/
  ten ps
  ten logs -f notes:alice`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(cmd, args[0])
		},
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.SetIn(p.in)
	cobra.EnableCommandSorting = false
	root.AddCommand(commands(p)...)
	root.SetHelpCommand(newHelpCommand())
	root.PersistentFlags().StringVar(&p.server, "server", "",
		"the `daemon`: the URL of its API, or its socket's path (default: $TENEMENT_SERVER, else the socket of this user's daemon)")
	root.PersistentFlags().StringVar(&p.server, "api", "", "the same as --server")
	_ = root.PersistentFlags().MarkHidden("api") // it is there
	root.PersistentFlags().StringVar(&p.tokenFile, "token-file", "",
		"a `file` with the token for the API's URL (default: the token in $TENEMENT_TOKEN, else the file $TENEMENT_TOKEN_FILE)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, err.Error()) })
	cobra.AddTemplateFunc("exits", exitHelp)
	root.SetUsageTemplate(root.UsageTemplate() + "{{exits .}}")
	completeNames(p, root)
	return root
}

// usage is the error of a command line that is wrong.
func usage(cmd *cobra.Command, msg string) error {
	return &tenant.Error{
		Code: tenant.CodeInvalid, Op: "read command line",
		Msg:  msg,
		Hint: fmt.Sprintf("`%s --help` shows what there is", cmd.CommandPath()),
	}
}

func unknownCommand(root *cobra.Command, name string) error {
	err := &tenant.Error{
		Code: tenant.CodeInvalid, Op: "read command line",
		Msg:  fmt.Sprintf("there is no command %q", name),
		Hint: "`ten --help` shows the commands",
	}
	if near := root.SuggestionsFor(name); len(near) > 0 {
		err.Hint = "did you mean " + strings.Join(near, " or ") + "? " + err.Hint
	}
	return err
}

// newHelpCommand makes cobra's own, which ends well where there is nothing to tell.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Tell more about a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmd.Root(), strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag() // as cobra does for --help
			return about.Help()
		},
	}
}

// noArgs is cobra.NoArgs with an error of ours.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, fmt.Sprintf("`%s` takes no %q", cmd.CommandPath(), args[0]))
	}
	return nil
}
