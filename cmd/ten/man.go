package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIRECTORY",
		Short:   "Write the manual pages, one for each command, into a directory",
		Long:    "Write the manual pages of all commands, in section 1, into a directory. Packages use it.",
		Example: "  ten man /usr/local/share/man/man1",
		Hidden:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, "`ten man` needs a directory")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("write manual pages: %w", err)
			}
			for _, about := range allCommands(cmd.Root()) {
				name := strings.ReplaceAll(about.CommandPath(), " ", "-")
				if err := os.WriteFile(filepath.Join(args[0], name+".1"), []byte(manPage(about)), 0o644); err != nil {
					return fmt.Errorf("write manual pages: %w", err)
				}
			}
			return nil
		},
	}
}

// allCommands are cmd and what is below it, but for hidden ones.
func allCommands(cmd *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			list = append(list, allCommands(sub)...)
		}
	}
	return list
}

// roff is text that groff prints as it is (man(7)).
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", "", "…", `\&...`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// manPage is the manual page of a command, in man(7)'s language.
func manPage(cmd *cobra.Command) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	line(`.TH %s 1 "" "Tenement" "Tenement"`, roff(strings.ToUpper(name)))
	line(".SH NAME\n%s \\- %s", roff(name), roff(cmd.Short))
	line(".SH SYNOPSIS\n.nf\n%s\n.fi", roff(cmd.UseLine()))
	line(".SH DESCRIPTION")
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	for _, paragraph := range strings.Split(text, "\n\n") {
		line(".PP")
		if strings.Contains(paragraph, "\n  ") || strings.HasPrefix(paragraph, "  ") {
			line(".nf\n%s\n.fi", roff(paragraph))
		} else {
			line("%s", roff(paragraph))
		}
	}
	if sub := allCommands(cmd)[1:]; len(sub) > 0 {
		line(".SH COMMANDS")
		for _, c := range sub {
			line(".TP\n.B %s\n%s", roff(c.CommandPath()), roff(c.Short))
		}
	}
	manFlags(line, "OPTIONS", cmd.NonInheritedFlags())
	manFlags(line, "GLOBAL OPTIONS", cmd.InheritedFlags())
	if cmd.Example != "" {
		line(".SH EXAMPLES\n.nf\n%s\n.fi", roff(cmd.Example))
	}
	line(".SH EXIT STATUS")
	for _, code := range exitsOf(cmd) {
		line(".TP\n.B %d\n%s", code, roff(exitCodes[code].text))
	}
	line(".SH SEE ALSO\n%s", seeAlso(cmd))
	return b.String()
}

func manFlags(line func(string, ...any), title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	line(".SH %s", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, text := pflag.UnquoteUsage(f)
		head := "--" + f.Name
		if f.Shorthand != "" {
			head = "-" + f.Shorthand + ", " + head
		}
		if value != "" {
			head += " " + value
		}
		line(".TP\n.B %s\n%s", roff(head), roff(text))
	})
}

func seeAlso(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return ".BR systemd (1),\n.BR journalctl (1)"
	}
	return ".BR " + roff(strings.ReplaceAll(cmd.Parent().CommandPath(), " ", "-")) + " (1)"
}
