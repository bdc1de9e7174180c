package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// TestScanLines has, as the value of each key, the line that it is on; elements of
// arrays likewise.
func TestScanLines(t *testing.T) {
	const text = `# [no.table]
one = 2 # two = 2
"qu.oted" = 3
'raw"' = 4
"esc\u0061ped" = 5
dot . ted."x y".'z' = 6
long = """ # x
no = 1 \
\""" = 2
""""" # five quotes
raw = '''
no = 2
\'''
after = 14
empty = "" # ""
list = [ 16, 16, # ]
  17, [ 17, [ ] ],
  # none = [
  "]", '[', """
x = 1
""", { a = 21, b = [
  1 ] }, 22 ]
[ table . "a.b" ]  # [no]
key = 24
time = 1979-05-27 07:32:00
[table]
key = 27
[[array]]
key = 29
[[array]]
other = 31
[inline]
t = { a.b = 33, c = [ 33 ], # }
  d = 34,
  e = """
"""
  , f = 37
}
"" = 39
[]last.never]
`
	valid := strings.TrimSuffix(text, "[]last.never]\n")
	if _, err := toml.Decode(valid, new(map[string]any)); err != nil {
		t.Fatal(err)
	}
	at := scan(valid)
	for _, want := range []struct {
		line int
		key  toml.Key
	}{
		{2, toml.Key{"one"}},
		{3, toml.Key{"qu.oted"}},
		{4, toml.Key{`raw"`}},
		{5, toml.Key{"escaped"}},
		{6, toml.Key{"dot", "ted", "x y", "z"}},
		{6, toml.Key{"dot", "ted"}},
		{7, toml.Key{"long"}},
		{11, toml.Key{"raw"}},
		{14, toml.Key{"after"}},
		{15, toml.Key{"empty"}},
		{16, toml.Key{"list"}},
		{21, toml.Key{"list", "a"}},
		{23, toml.Key{"table", "a.b"}},
		{24, toml.Key{"table", "a.b", "key"}},
		{25, toml.Key{"table", "a.b", "time"}},
		{26, toml.Key{"table"}},
		{27, toml.Key{"table", "key"}},
		{28, toml.Key{"array"}},
		{29, toml.Key{"array", "key"}},
		{31, toml.Key{"array", "other"}},
		{33, toml.Key{"inline", "t", "a"}},
		{33, toml.Key{"inline", "t", "c"}},
		{34, toml.Key{"inline", "t", "d"}},
		{35, toml.Key{"inline", "t", "e"}},
		{37, toml.Key{"inline", "t", "f"}},
		{39, toml.Key{"inline", ""}},
		{0, toml.Key{"no"}},
		{0, toml.Key{"none"}},
	} {
		if got := at.line(want.key); got != want.line {
			t.Errorf("%s: got line %d, want %d", want.key, got, want.line)
		}
	}
	for i, want := range []int{16, 16, 17, 17, 19, 19, 19, 21, 22, 16} {
		if got := at.elementLine(toml.Key{"list"}, i); got != want {
			t.Errorf("list[%d]: got line %d, want %d", i, got, want)
		}
	}
	checkScan(t, text) // not TOML, but it must end
	checkScan(t, valid)
}

// checkScan compares the keys that scan finds with those of the toml package, which
// does not tell their lines but knows their order.
func checkScan(t *testing.T, text string) {
	t.Helper()
	at := scan(text)
	meta, err := toml.Decode(text, new(map[string]any))
	if err != nil {
		return
	}
	show := func(keys []toml.Key) string {
		var b strings.Builder
		for _, k := range keys {
			fmt.Fprintln(&b, k)
		}
		return b.String()
	}
	if got, want := show(at.keys), show(meta.Keys()); got != want {
		t.Errorf("%q\ngot:\n%s\nwant:\n%s", text, got, want)
	}
	lines := 1 + strings.Count(text, "\n")
	var found []int
	for _, k := range at.keys {
		found = append(found, at.line(k))
	}
	if len(found) > 0 && (slices.Min(found) < 1 || slices.Max(found) > lines) {
		t.Errorf("%q: got lines %v, of %d", text, found, lines)
	}
}

// FuzzScan finds texts that scan does not read as the toml package does, or at whose
// end it never comes.
func FuzzScan(f *testing.F) {
	f.Add(quickStart)
	f.Add("a = [ [ { b = '''\n''' } ], # ]\n 1979-05-27 07:32:00, ]\n[[x . \"y.z\"]]\n'' = \"\\\"\"\n")
	f.Add("a = \"\"\"\\\"\"\"\"\"\nb.c = { d = 1, # x\n e.f = [ ], }\n[\"\\u0061\"]\n")
	f.Add("a = ''''x''''\r\nb = +nan # c\n[c]#d\n[ e ]")
	f.Fuzz(func(t *testing.T, text string) { checkScan(t, text) })
}
