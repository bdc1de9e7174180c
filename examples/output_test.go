package examples

import (
	"regexp"
	"strings"
	"testing"
)

// like reports whether a command's output is as a README shows it: "..." stands for anything within a line, and alone on a
// line for any lines.
func like(got, shown string) bool {
	var pattern strings.Builder
	for line := range strings.Lines(strings.TrimRight(shown, "\n") + "\n") {
		if line == "...\n" {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		// Columns of a table are as wide as what is in them.
		words := strings.Fields(line)
		for i, word := range words {
			words[i] = strings.ReplaceAll(regexp.QuoteMeta(word), `\.\.\.`, `.*?`)
		}
		pattern.WriteString(`[ \t]*` + strings.Join(words, `[ \t]+`) + `[ \t]*\n`)
	}
	re := regexp.MustCompile(`\A` + pattern.String() + `\s*\z`)
	return re.MatchString(strings.TrimRight(strings.ReplaceAll(got, "\r\n", "\n"), "\n") + "\n")
}

func TestLike(t *testing.T) {
	for _, tt := range []struct {
		got, shown string
		want       bool
	}{
		{"a\n", "a", true},
		{"a", "a\n", true},
		{"a: b\r\n", "a: b", true},
		{"a b\n", "a", false},
		{"a\nb\n", "a", false},
		{"b\n", "a\nb", false},
		{"a\nb\n", "...\nb", true},
		{"b\n", "...\nb", true},
		{"a\nb\nc\n", "...\nb", false},
		{"a\nb\nc\n", "a\n...\n", true},
		{"notes:alice   awake  3s\n", "notes:alice ... awake ...", true},
		{"notes:alice   asleep  3s\n", "notes:alice ... awake ...", false},
		{"a.c\n", "abc", false},
		{"{\"x\":1}\n{\"y\":2}", "{\"x\":1}\n{\"y\":2}", true},
	} {
		if got := like(tt.got, tt.shown); got != tt.want {
			t.Errorf("%q, shown as %q: got %v, want %v", tt.got, tt.shown, got, tt.want)
		}
	}
}
