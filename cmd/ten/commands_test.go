package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// noJSON are the commands whose output is a text of another kind, or nothing at all.
var noJSON = []string{"ten", "ten serve", "ten keeper", "ten caddy", "ten completion", "ten help", "ten config", "ten domain", "ten secret", "ten token"}

func everyCommand() []*cobra.Command {
	root := newRootCommand(&program{world: world{getenv: func(string) string { return "" }}})
	return allCommands(root)
}

// Every command says what it does, with an example and its exit codes, and has --json.
func TestEveryCommandExplainsItself(t *testing.T) {
	for _, cmd := range everyCommand() {
		path := cmd.CommandPath()
		if cmd.Name() != "help" && (cmd.Short == "" || cmd.Example == "") {
			t.Errorf("%s: no example, or no description", path)
		}
		if got, want := cmd.Flags().Lookup("json") != nil, !slices.Contains(noJSON, path); got != want {
			t.Errorf("%s: --json: got %v, want %v", path, got, want)
		}
		for line := range strings.Lines(cmd.Example) {
			if len(line) > 100 {
				t.Errorf("%s: an example of %d characters: %s", path, len(line), line)
			}
		}
		r := runIn(t, nil, append(strings.Fields(path)[1:], "--help")...)
		if r.code != 0 || !strings.Contains(r.out, "Exit codes:\n  0  it worked\n") {
			t.Errorf("%s --help: exit code %d, want 0 and the exit codes:\n%s", path, r.code, r.out)
		}
	}
}

// Every command, hidden ones too, is in a script, which has what it prints and its exit
// code; those of ten serve and ten keeper are in test/integration and test/takeover.
func TestEveryCommandHasAScript(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var scripts string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scripts += string(text)
	}
	root := newRootCommand(&program{world: world{getenv: func(string) string { return "" }}})
	var all []*cobra.Command
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		all = append(all, cmd)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
	for _, cmd := range all {
		path := regexp.QuoteMeta(cmd.CommandPath())
		for _, code := range []string{"0", "[1-9]"} {
			runs := cmd.CommandPath() == "ten serve" || cmd.CommandPath() == "ten keeper"
			if runs && code == "0" || cmd.HasSubCommands() && code != "0" {
				continue
			}
			if !regexp.MustCompile(`(?m)^exits ` + code + ` ` + path + `\b`).MatchString(scripts) {
				t.Errorf("no script has a run of %q with exit code %s", cmd.CommandPath(), code)
			}
		}
	}
}

// The manual pages are what groff takes without a word (`make tools` installs it).
func TestManualPages(t *testing.T) {
	for _, cmd := range everyCommand() {
		page := manPage(cmd)
		for line := range strings.Lines(page) {
			if strings.HasPrefix(line, "'") {
				t.Errorf("%s: a line begins with a control character: %s", cmd.CommandPath(), line)
			}
		}
		c := exec.Command("groff", "-man", "-ww", "-Tutf8", "-P-c")
		c.Stdin = strings.NewReader(page)
		var errs strings.Builder
		c.Stderr = &errs
		out, err := c.Output()
		if err != nil || errs.Len() > 0 {
			t.Errorf("%s: %v: %s", cmd.CommandPath(), err, errs.String())
		}
		if !strings.Contains(string(out), "it worked") {
			t.Errorf("%s: got\n%s", cmd.CommandPath(), out)
		}
	}
}
