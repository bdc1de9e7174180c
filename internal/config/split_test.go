package config

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, test := range []struct {
		line string
		want []string
	}{
		{"python3 app.py", []string{"python3", "app.py"}},
		{"  a\t b  ", []string{"a", "b"}},
		{`a ''  "" b`, []string{"a", "", "", "b"}},
		{`a'b c'"d e"f\ g`, []string{"ab cd ef g"}},
		{`'a\b' "a\b\"\\\$\` + "`" + `" a\b\'`, []string{`a\b`, "a\\b\"\\$`", "ab'"}},
		{`sh -c 'cd /x && exec app > log 2>&1; echo "$PORT" | cat'`, []string{"sh", "-c", `cd /x && exec app > log 2>&1; echo "$PORT" | cat`}},
		{`a \| \$X \~ \# x#y a~ 5$`, []string{"a", "|", "$X", "~", "#", "x#y", "a~", "5$"}},
		{"\n  app \\\n  --one \\\r\n --two\n\n", []string{"app", "--one", "--two"}},
		{"a\\\nb \"c\\\nd\"", []string{"ab", "cd"}},
		{"a 'b\nc'", []string{"a", "b\nc"}},
		{"--port={port} {data_dir}/{id}", []string{"--port={port}", "{data_dir}/{id}"}},
		{"é ü\\é 'ñ'", []string{"é", "üé", "ñ"}},
		{"a\\ ", []string{"a "}},
		{"", nil},
		{" \n", nil},
	} {
		got, p := split(test.line)
		if p != nil || !slices.Equal(got, test.want) {
			t.Errorf("split %q: got %q, %+v, want %q", test.line, got, p, test.want)
		}
		if strings.Contains(test.line, "\r") {
			continue // a shell does not take a carriage return for white space
		}
		if shell := inShell(t, strings.Trim(test.line, "\n")); !slices.Equal(shell, test.want) {
			t.Errorf("sh splits %q into %q, want %q", test.line, shell, test.want)
		}
	}
}

// inShell gives the words that sh makes of line.
func inShell(t *testing.T, line string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-fc", "set -- "+line+"\n"+`for w in "$@"; do printf '%s\0' "$w"; done`).Output()
	if err != nil {
		t.Fatalf("sh on %q: %v", line, err)
	}
	if len(out) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

func TestSplitRefuses(t *testing.T) {
	for _, test := range []struct{ line, msg string }{
		{"a | b", `"|" is for a shell, and commands run without one`},
		{"a||b", `"||" is for a shell, and commands run without one`},
		{"cd x && a", `"&&" is for a shell, and commands run without one`},
		{"a &", `"&" is for a shell, and commands run without one`},
		{"a;", `";" is for a shell, and commands run without one`},
		{"a > log", `">" is for a shell, and commands run without one`},
		{"a 2>&1", `">" is for a shell, and commands run without one`},
		{"a < x", `"<" is for a shell, and commands run without one`},
		{"(a)", `"(" is for a shell, and commands run without one`},
		{"a `b`", "\"`\" is for a shell, and commands run without one"},
		{"a --port $PORT", `"$PORT" is for a shell, and commands run without one`},
		{"a x${PORT}", `"${" is for a shell, and commands run without one`},
		{"a $(b)", `"$(" is for a shell, and commands run without one`},
		{"a # b", `"#" begins a comment in a shell, and commands run without one`},
		{"~/a", `"~" is for a shell, and commands run without one`},
		{"a ~", `"~" is for a shell, and commands run without one`},
		{"a 'b", "a ' is not closed"},
		{`a "b\"`, `a " is not closed`},
		{`a \`, `there is nothing after the last "\"`},
		{"a\nb", "a line break ends a command, and there can be only one"},
	} {
		got, p := split(test.line)
		if p == nil {
			t.Errorf("split %q: got %q, want the problem %q", test.line, got, test.msg)
		} else if p.msg != test.msg || p.hint == "" {
			t.Errorf("split %q: got %+v, want %q and a hint", test.line, p, test.msg)
		}
	}
}

// FuzzSplit checks that words survive being quoted and split again, and that a line
// that is split gives the same words when these are quoted.
func FuzzSplit(f *testing.F) {
	f.Add(`python3 app.py --x 'a b' "c\"d" e\ f`)
	f.Add("a\\\nb '' \"\" \t\n")
	f.Add(`{"a": 'b'} $ ~x x# *`)
	f.Fuzz(func(t *testing.T, line string) {
		quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
		if got, p := split(quote(line)); p != nil || len(got) != 1 || got[0] != line {
			t.Errorf("%q quoted: got %q, %+v", line, got, p)
		}
		words, p := split(line)
		if p != nil {
			if p.msg == "" || words != nil {
				t.Errorf("%q: got %q, %+v", line, words, p)
			}
			return
		}
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, quote(w))
		}
		if got, p := split(strings.Join(quoted, " ")); p != nil || !slices.Equal(got, words) {
			t.Errorf("%q: got %q, %+v, want %q", line, got, p, words)
		}
	})
}
