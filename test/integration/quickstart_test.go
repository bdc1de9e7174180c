package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenement.dev/test/harness"
)

// TestReadmeQuickStart does what the README's quick start says, word for word, in an
// empty directory: it writes the files and runs the commands.
func TestReadmeQuickStart(t *testing.T) {
	for _, rootless := range []bool{false, true} {
		t.Run(fmt.Sprintf("rootless=%v", rootless), func(t *testing.T) {
			files, commands := readQuickStart(t)
			if files["app.py"] == "" || files["tenement.toml"] == "" {
				t.Fatalf("the quick start has files %v, want app.py and tenement.toml", files)
			}
			serve := "ten serve --port 8080 --domain localhost"
			if len(commands) < 6 || commands[0] != serve {
				t.Fatalf("the quick start has commands %q, want it to begin with %q", commands, serve)
			}
			s := harness.New(t, harness.Options{Config: files["tenement.toml"], Files: files, Rootless: rootless})
			s.Port = 8080
			s.Run()
			var outputs []string
			for _, command := range commands[1:] {
				out, err := s.Command("/bin/sh", "-c", command).CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v\n%s", command, err, out)
				}
				outputs = append(outputs, string(out))
			}
			all := strings.Join(outputs, "\n")
			if got := strings.Count(all, "hello from alice"); got != 1 {
				t.Errorf("the note is in %d answers, want in alice's list alone:\n%s", got, all)
			}
			last := outputs[len(outputs)-1]
			if !strings.Contains(last, "notes:alice") || !strings.Contains(last, "notes:bob") || !strings.Contains(last, "awake") {
				t.Errorf("ten ps: got\n%s", last)
			}
		})
	}
}

// readQuickStart takes the fenced blocks of the README's section "Quick start":
// those whose first line is a comment with a file's name are files, the others
// commands.
func readQuickStart(t *testing.T) (files map[string]string, commands []string) {
	t.Helper()
	repo, err := harness.Repository()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(repo, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## Quick start\n")
	if !ok {
		t.Fatal("the README has no section Quick start")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	files = map[string]string{}
	for i, block := range strings.Split(section, "\n```") {
		if i%2 == 0 {
			continue
		}
		_, body, _ := strings.Cut(block, "\n") // the language
		first, _, _ := strings.Cut(body, "\n")
		if name, ok := strings.CutPrefix(first, "# "); ok {
			files[name] = body + "\n"
			continue
		}
		for line := range strings.Lines(body) {
			if line = strings.TrimSpace(line); line != "" {
				commands = append(commands, line)
			}
		}
	}
	return files, commands
}
