package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/wire"
)

// completeTimeout bounds how long a person who presses Tab waits for the daemon.
const completeTimeout = 2 * time.Second

func newCompletionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the completions for a shell: bash, zsh or fish",
		Long: `Print a script that has a shell complete commands, flags, and the names of instances and
services, which it asks the daemon for.`,
		Example: `  source <(ten completion bash)
  ten completion bash > /etc/bash_completion.d/ten
  ten completion zsh > "${fpath[1]}/_ten"
  ten completion fish > ~/.config/fish/completions/ten.fish`,
		ValidArgs: shells,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(shells, args[0]) {
				return usage(cmd, "`ten completion` needs a shell: bash, zsh or fish")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(out, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(out)
			default:
				return cmd.Root().GenFishCompletion(out, true)
			}
		},
	}
}

// completeNames has the arguments of all commands completed by what their usage says they
// are.
func completeNames(p *program, cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		completeNames(p, sub)
	}
	if cmd.ValidArgs != nil || cmd.HasSubCommands() && !strings.Contains(cmd.Use, "SERVICE") {
		return
	}
	words := strings.Fields(cmd.Use)[1:]
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		const noFiles = cobra.ShellCompDirectiveNoFileComp
		if len(args) < len(words) && words[len(args)] == "FILE" {
			return nil, cobra.ShellCompDirectiveDefault
		}
		if len(words) == 0 || len(args) > 0 && !strings.HasSuffix(cmd.Use, "...") {
			return nil, noFiles
		}
		instances := strings.Contains(cmd.Use, "INSTANCE") || strings.HasPrefix(words[0], "NAME")
		services := strings.Contains(cmd.Use, "SERVICE") || strings.HasPrefix(words[0], "NAME")
		if !instances && !services {
			return nil, noFiles
		}
		return slices.DeleteFunc(p.names(cmd.Context(), instances, services), func(name string) bool { return slices.Contains(args, name) }), noFiles
	}
}

// names are those of the daemon's instances, and of the services that have any; none where
// it does not answer.
func (p *program) names(ctx context.Context, instances, services bool) (names []string) {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	var list []wire.Instance
	err := p.ask(func(c *client.Client) (err error) {
		list, err = c.List(ctx, "")
		return err
	})
	if err != nil {
		return nil
	}
	for _, inst := range list {
		if services && !slices.Contains(names, inst.ID.Service) {
			names = append(names, inst.ID.Service)
		}
		if instances {
			names = append(names, inst.ID.String())
		}
	}
	return names
}
