package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"tenement.dev/internal/keeper"
)

func newLeaveCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "leave",
		Short: "Take away what instances have left in the kernel and below /run",
		Long: `Take away what instances have left in the kernel and below /run: the fence around their
ports and their user records. Packages use it when they are removed; no daemon and no
instance may run.`,
		Example: "  ten leave",
		Hidden:  true,
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if p.euid != 0 {
				return nil // an ordinary user's daemon makes neither
			}
			runtimeDir := p.runtimeDir()
			held, err := lock(runtimeDir, "runtime directory") // by a daemon as long as one runs
			if err != nil {
				return err
			}
			defer held.Close()
			if err := keeper.Leave(runtimeDir, p.stateDir()); err != nil {
				return fmt.Errorf("take away what instances have left: %w", err)
			}
			return nil
		},
	}
}
