package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMaps: where a package's doc.go says where to find what, it names its files, and no others;
// here but those of commands.
func TestMaps(t *testing.T) {
	named := regexp.MustCompile(`(?m)^//\t(\w+\.go) `)
	command := regexp.MustCompile(`(?m)^func new\w+Command\(`)
	for _, dir := range []string{".", "../../internal/lifecycle", "../../proxy"} {
		text, err := os.ReadFile(filepath.Join(dir, "doc.go"))
		if err != nil {
			t.Fatal(err)
		}
		left := map[string]bool{"doc.go": true}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			left[m[1]] = true
		}
		if len(left) < 10 {
			t.Errorf("%s/doc.go has a map of %d files", dir, len(left)-1)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Base(file)
			told := left[name] || strings.HasSuffix(name, "_test.go") || dir == "." && command.Match(text)
			if !told {
				t.Errorf("%s/doc.go does not say what is in %s", dir, name)
			}
			delete(left, name)
		}
		for name := range left {
			t.Errorf("%s/doc.go names %s, which is not there", dir, name)
		}
	}
}
