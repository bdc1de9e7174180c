package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"tenement.dev/internal/install"
)

func newUninstallCommand(p *program) *cobra.Command {
	var purge, dryRun, asJSON bool
	var root string
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Take away what `ten install` has installed",
		Long: `Take away what "ten install" has installed. The daemon and all instances are stopped; their
data and tenement.toml stay. With --purge those go too: all data of all instances below
/var/lib/tenement, the registry, certificates, the user. Files that somebody has changed
since stay.`,
		Example: "  ten uninstall --dry-run\n  ten uninstall --purge",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.uninstall(cmd.Context(), root, purge, dryRun, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&purge, "purge", false, "remove the configuration and all data too")
	flags.BoolVar(&dryRun, "dry-run", false, "only print what would be done")
	flags.StringVar(&root, "root", "/", "uninstall below a `directory`, such as a mounted image; nothing is stopped")
	flags.BoolVar(&asJSON, "json", false, "print what is done as JSON")
	return cmd
}

func (p *program) uninstall(ctx context.Context, root string, purge, dryRun, asJSON bool) error {
	if !dryRun {
		if err := p.needsRoot("uninstall", root); err != nil {
			return err
		}
	}
	r, err := install.NewRemoval(root, purge)
	if err != nil {
		return err
	}
	if err := p.sayPlan(r.Steps, dryRun, asJSON, alsoRemoved(root, purge)); err != nil || dryRun {
		return err
	}
	if root == "/" {
		if err := p.script(ctx, "prerm", "remove"); err != nil {
			return err
		}
	}
	if err := r.Apply(); err != nil || root != "/" {
		return err
	}
	if slices.ContainsFunc(r.Steps, func(s install.Step) bool { return s.Change == install.Restore }) {
		p.note("/etc/caddy/Caddyfile is that of Caddy's package again: `systemctl reload caddy` has Caddy take it\n")
	}
	if err := p.script(ctx, "postrm", "remove"); err != nil || !purge {
		return err
	}
	return p.script(ctx, "postrm", "purge")
}

// alsoRemoved says what an uninstallation does beside the files.
func alsoRemoved(root string, purge bool) []string {
	if root != "/" {
		return nil
	}
	list := []string{"stop the daemon and all instances, before anything else"}
	if purge {
		list = append(list, "remove /var/lib/tenement with all data of all instances, and the user and the group tenement")
	}
	return list
}
