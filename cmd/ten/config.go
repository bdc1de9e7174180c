package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"tenement.dev/internal/calendar"
	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

func newConfigCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Look at tenement.toml: check it, show what holds",
		Long: `Look at tenement.toml without a daemon: whether it has faults, and what holds by it with
the defaults. It is that of this directory, or that of --config, or else the one in
/etc/tenement, which the daemon of the package reads.`,
		Example: "  ten config check\n  ten config show",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheckCommand(p), newConfigShowCommand(p))
	return cmd
}

// fileFlag is --config for the commands that read the file and nothing else.
func fileFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", defaultConfig, "the `file`; where there is none here, that of /etc/tenement")
}

// fileOr is the file that a command reads which takes fileFlag.
func (p *program) fileOr(cmd *cobra.Command, path string) string {
	if cmd.Flags().Changed("config") {
		return path
	}
	return p.orSystems(path)
}

// systemConfig is what the daemon of this machine reads.
func (w world) systemConfig() string { return filepath.Join(w.etc, "tenement", "tenement.toml") }

// orSystems is the file that a command reads which was told of none: that of this directory, and where there is none that of
// the daemon of this machine, which it says where nobody would see it otherwise.
func (p *program) orSystems(path string) string {
	system := p.systemConfig()
	if exists(path) || !exists(system) {
		return path
	}
	p.note("there is no %s here; this is of %s\n", path, system)
	return system
}

// exists reports whether there is something at path, whatever it is.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// checked is what `ten config check --json` prints.
type checked struct {
	File   string         `json:"file"`
	OK     bool           `json:"ok"`
	Faults []config.Fault `json:"faults"`
}

func newConfigCheckCommand(p *program) *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find all faults of tenement.toml",
		Long: `Find all faults of tenement.toml, each with its line: what "ten serve" and "ten reload"
would refuse. Nothing is started, and no daemon is asked. The exit code is 6 where there
are any.`,
		Example: "  ten config check\n  ten config check --config /etc/tenement/tenement.toml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := p.fileOr(cmd, path)
			cfg, err := loadConfig(cmd.Context(), path)
			var faults config.Faults
			switch {
			case errors.As(err, &faults) && asJSON:
				return errors.Join(printJSON(p.out, checked{path, false, faults}), reported(exitConfig))
			case err != nil:
				return err
			case asJSON:
				return printJSON(p.out, checked{path, true, []config.Fault{}})
			}
			return p.say(done{fmt.Sprintf("%s is right: %s, %s from the start", cfg.Path,
				tenant.Count(len(cfg.Services), "service", "services"), tenant.Count(len(cfg.Instances), "instance", "instances")), nil}, false)
		},
	}
	fileFlag(cmd, &path)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newConfigShowCommand(p *program) *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show what holds by tenement.toml, defaults included",
		Long: `Show what holds by tenement.toml, as TOML: what the file says, and the default of each key
that it does not have, marked so. Where nothing but words can say what holds without a key
it is a comment.`,
		Example: "  ten config show\n  ten config show --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := config.Show(p.fileOr(cmd, path), calendarOf(cmd.Context()))
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(p.out, list)
			}
			return p.showConfig(list)
		},
	}
	fileFlag(cmd, &path)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array of the keys")
	return cmd
}

func (p *program) showConfig(list []config.Setting) error {
	var b strings.Builder
	s, table := p.screen(p.out), ""
	for _, key := range list {
		if key.Table != table {
			if table != "" {
				b.WriteString("\n")
			}
			table = key.Table
			b.WriteString(s.paint(bold, "["+table+"]") + "\n")
		}
		if line := clean(key.TOML()); key.Default {
			fmt.Fprintf(&b, "%-40s %s\n", line, s.paint(dim, "# default"))
		} else {
			b.WriteString(line + "\n")
		}
	}
	_, err := p.out.Write([]byte(b.String()))
	return err
}

// calendarOf has systemd look at calendar times.
func calendarOf(ctx context.Context) func(entry string) error {
	return func(entry string) error { return calendar.Check(ctx, entry) }
}
