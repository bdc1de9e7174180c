package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"tenement.dev/internal/client"
	"tenement.dev/internal/wire"
)

// buildVersion is set by the linker (see the Makefile).
var buildVersion = "dev"

// version says which build this program is.
func version() wire.Version {
	v := wire.Version{Version: buildVersion, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.Commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	if v.Commit != "" {
		v.Commit += dirty
	}
	return v
}

func newVersionCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of ten, and of the daemon if one runs",
		Example: "  ten version\n  ten version --json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return p.version(cmd.Context(), asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) version(ctx context.Context, asJSON bool) error {
	addr, err := p.address()
	if err != nil {
		return err
	}
	var daemon *wire.Version // nil where none answers
	err = p.ask(func(c *client.Client) error {
		v, err := c.Version(ctx)
		if err == nil {
			daemon = &v
		}
		return err
	})
	if asJSON {
		return printJSON(p.out, struct {
			Client wire.Version  `json:"client"`
			Daemon *wire.Version `json:"daemon"` // null where none answers
		}{version(), daemon})
	}
	var text string
	if daemon != nil {
		text = fmt.Sprintf("%s, at %s", describeVersion(*daemon), addr.path)
	} else {
		text = sentence(err)
	}
	_, err = fmt.Fprintf(p.out, "ten     %s\ndaemon  %s\n", describeVersion(version()), clean(text))
	return err
}

func describeVersion(v wire.Version) string {
	text := clean(v.Version)
	if v.Commit != "" {
		text += fmt.Sprintf(" (commit %s, %s)", clean(v.Commit), clean(v.Go))
	} else {
		text += fmt.Sprintf(" (%s)", clean(v.Go))
	}
	return text
}
