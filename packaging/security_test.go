package packaging

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each line of the threat model names tests, and they are there.
func TestThreatModel(t *testing.T) {
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	reference := regexp.MustCompile("`([a-z/-]+)`|(Test[A-Za-z]+)")
	sources := map[string]string{}
	rows, names := 0, 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || cells[0] == " wants" || len(cells) != 3 || strings.Contains(cells[0], "`tenement") || strings.HasPrefix(cells[0], " part") || strings.HasPrefix(cells[0], " an instance") {
			continue // not of a table of attempts
		}
		rows++
		dir, found := "", 0
		for _, m := range reference.FindAllStringSubmatch(cells[2], -1) {
			if m[1] != "" {
				dir = m[1]
				continue
			}
			found++
			if _, ok := sources[dir]; !ok {
				files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
				if err != nil || len(files) == 0 {
					t.Fatalf("%q has no tests: %v", dir, err)
				}
				for _, file := range files {
					source, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					sources[dir] += string(source)
				}
			}
			if !strings.Contains(sources[dir], "\nfunc "+m[2]+"(t *testing.T)") {
				t.Errorf("there is no %s in %s:%s", m[2], dir, cells[0])
			}
		}
		if found == 0 {
			t.Errorf("no test is named:%s", cells[0])
		}
		names += found
	}
	if rows < 30 || names < rows {
		t.Errorf("got %d lines with %d tests, want at least 30", rows, names)
	}
}
