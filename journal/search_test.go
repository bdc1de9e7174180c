package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/journal/journaltest"
)

// Every search, compared with a look at each entry of the plain list.
func TestSearch(t *testing.T) {
	unit := unitFor(t)
	runUnit(t, unit, `for i in 1 2 3; do
		echo "GET /notes/$i 200"; echo "<3>Payment of $i.50 € failed"; echo "<4>PAYMENT delayed"
		echo "über Straße $i"; printf 'caf\xe9 payment\n'; echo '(.*) [a-z]+ \E$'
		printf '%70000s payment beyond\n' x
	done; exit 3`)
	all := read(t, Query{Unit: unit, Lines: -1})
	level := func(s string) tenant.Level {
		l, err := tenant.ParseLevel(s)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for name, q := range map[string]Query{
		"text":                       {Search: "payment"},
		"text in capitals":           {Search: "PAYMENT"},
		"text beyond ASCII":          {Search: "ÜBER straße"},
		"text of one odd letter":     {Search: "€"},
		"text with what is no UTF-8": {Search: "caf\uFFFD"},
		"text like an expression":    {Search: `(.*) [a-z]+ \E$`},
		"nothing":                    {Search: "nowhere"},
		"the manager's":              {Search: "failed with result"},
		"expression":                 {Grep: regexp.MustCompile(`^Payment of [0-9.]+ € (failed|lost)$`)},
		"without a literal":          {Grep: regexp.MustCompile(`\d\d\d$`)},
		"any case":                   {Grep: regexp.MustCompile(`(?i)payment (of|delayed)`)},
		"level":                      {Level: level("err")},
		"level of few":               {Level: level("warning")},
		"level of most":              {Level: level("info")},
		"all together":               {Level: level("warning"), Search: "payment", Grep: regexp.MustCompile("[de]l")},
		"since the middle":           {Search: "payment", Since: all[len(all)/2].Time},
		"until the middle":           {Search: "payment", Until: all[len(all)/2].Time},
	} {
		t.Run(name, func(t *testing.T) {
			q.Unit = unit
			wanted := q.filter()
			var want []Entry
			for _, e := range all {
				if wanted(e) && !e.Time.Before(q.Since) && (q.Until.IsZero() || !e.Time.After(q.Until)) {
					want = append(want, e)
				}
			}
			if (len(want) == 0) != (name == "nothing") {
				t.Fatalf("%d entries fit", len(want))
			}
			for _, lines := range []int{-1, 1, 2, 100} {
				q.Lines = lines
				newest := want
				if lines > 0 {
					newest = want[max(0, len(want)-lines):]
				}
				if got := read(t, q); !slices.Equal(got, newest) {
					t.Errorf("%d lines: got %.300q, want %.300q", lines, texts(got), texts(newest))
				}
			}
			// Page by page, backwards and forwards.
			var back, forth []Entry
			for q := q; ; q.BeforeCursor = back[0].Cursor {
				q.Lines = 2
				page := read(t, q)
				if back = append(slices.Clone(page), back...); len(page) < 2 {
					break
				}
			}
			if !slices.Equal(back, want) {
				t.Errorf("backwards: got %.300q, want %.300q", texts(back), texts(want))
			}
			if !q.Since.IsZero() {
				return // a cursor is where it begins
			}
			q.AfterCursor, q.Lines = all[0].Cursor, 2
			for {
				page := read(t, q)
				if forth = append(forth, page...); len(page) < 2 {
					break
				}
				q.AfterCursor = page[1].Cursor
			}
			if wanted(all[0]) {
				want = want[1:]
			}
			if !slices.Equal(forth, want) {
				t.Errorf("forwards: got %.300q, want %.300q", texts(forth), texts(want))
			}
		})
	}
}

// The entries of a page may be too large to be kept until the oldest is known.
func TestPageOfLargeEntries(t *testing.T) {
	unit := unitFor(t)
	runUnit(t, unit, `for i in $(seq 60); do printf '%040000d %d\n' 0 $i; done`)
	all := read(t, Query{Unit: unit, Lines: -1})
	for i, size := 0, 0; ; i++ {
		if size += len(all[i].Message); size > maxKept {
			break // or there is nothing to see here
		}
	}
	for _, q := range []Query{{Lines: 50}, {Lines: 40, Search: "000"}, {Lines: 45, Search: "000", BeforeCursor: all[55].Cursor}} {
		want := slices.Clone(all)
		if q.BeforeCursor != "" {
			want = want[:55]
		}
		want = slices.DeleteFunc(want, func(e Entry) bool { return !strings.Contains(e.Message, q.Search) })
		want = want[len(want)-q.Lines:]
		q.Unit = unit
		if got := read(t, q); !slices.Equal(got, want) {
			t.Errorf("%+v: got %d entries of which the first is %.20q, want %d", q, len(got), texts(got[:min(1, len(got))]), len(want))
		}
	}
}

// Who follows with a search gets what fits, stored or new, and nothing else.
func TestFollowASearch(t *testing.T) {
	unit := unitFor(t)
	runUnit(t, unit, "echo one apple; echo pear; echo two apples")
	for _, lines := range []int{0, 1, 10} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		stored := []string{"one apple", "two apples"}
		want := append(slices.Clone(stored[max(0, len(stored)-lines):]), "new Apple")
		var starting sync.WaitGroup
		if lines == 0 {
			unit := unit
			starting.Go(func() {
				eventually(t, "journalctl to run", func() bool { return len(children(t)) == 1 })
				startUnit(t, unit, "echo pear; echo new Apple")
			})
		}
		var got []string
		for e, err := range New(System).Read(ctx, Query{Unit: unit, Search: "APPLE", Lines: lines, Follow: true}) {
			if err != nil {
				t.Fatalf("%d lines, after %q: %v", lines, got, err)
			}
			if e.Manager {
				continue // it tells the command
			}
			if got = append(got, e.Message); len(got) == len(want)-1 && lines > 0 {
				startUnit(t, unit, "echo pear; echo new Apple")
			}
			if len(got) == len(want) {
				break
			}
		}
		cancel()
		starting.Wait()
		if !slices.Equal(got, want) {
			t.Errorf("%d lines: got %q, want %q", lines, got, want)
		}
		wantNoChildren(t)
		unit = strings.Replace(unit, "-", "-x", 1)
		runUnit(t, unit, "echo one apple; echo pear; echo two apples")
	}
}

// A journalctl that was built without PCRE2 cannot search; it is searched here then.
func TestSearchWithoutPCRE(t *testing.T) {
	unit := unitFor(t)
	runUnit(t, unit, "echo apple; echo pear; echo Apple")
	r := New(System)
	r.backoff, r.command = time.Millisecond, filepath.Join(t.TempDir(), "journalctl")
	script := "#!/bin/sh\ncase \"$*\" in *--grep*) echo Compiled without pattern matching support >&2; exit 1;; esac\nexec journalctl \"$@\"\n"
	if err := os.WriteFile(r.command, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, lines := range []int{-1, 10} {
		var got []string
		for e, err := range r.Read(t.Context(), Query{Unit: unit, Lines: lines, Search: "apple"}) {
			if err != nil {
				t.Fatal(err)
			}
			if !e.Manager {
				got = append(got, e.Message)
			}
		}
		if want := []string{"apple", "Apple"}; !slices.Equal(got, want) {
			t.Errorf("%d lines: got %q, want %q", lines, got, want)
		}
	}
}

// What is held back must not fit, and what cannot be known is not held back.
func TestSieve(t *testing.T) {
	for expression, want := range map[string]string{
		"apple": "apple", "": "", `\d+`: "", "a|b": `[ab]`, "(red|green) apple": " apple",
		"(apples|pears)+ x?": "apples|pears", "x*y": "y", "(x*)": "", "(?i)Größe": `gr[^\x00-\x7f]+e`,
		`a\.b`: `a\.b`, "\x00a": "", "(one|two|)": "", "aa{2,}": "a", "(a|b.)cd": "cd",
	} {
		got := Query{Grep: regexp.MustCompile(expression)}.sieve()
		if expression == "a|b" {
			want = "" // a class of letters is none of texts
		}
		if !strings.EqualFold(got, want) {
			t.Errorf("%q: got %q, want %q", expression, got, want)
		}
	}
}

// All instances of a service, or of all services, and nobody else.
func TestManyUnits(t *testing.T) {
	slice := fmt.Sprintf("test%d.slice", time.Now().UnixNano())
	base := strings.TrimSuffix(slice, ".slice")
	write := func(unit, slice, text string) {
		runUnit(t, unit, "echo "+text) // to have the name in the manager's lines alone
		run(t, "systemd-run", "--quiet", "--wait", "--collect", "--unit="+unit, "--slice="+slice, "bash", "-c",
			"echo "+text+"; journalctl --sync") // journald asks for the slice of who is still there
	}
	write(base+"-notes@alice", slice, "of-alice")
	write(base+"-notes@bob", slice, "of-bob")
	write(base+"-blog@alice", slice, "of-the-blog")
	write(base+"-notes@alice-elsewhere", "system.slice", "elsewhere")
	for prefix, want := range map[string][]string{
		base + "-notes@": {"of-alice", "of-bob"},
		base + "-":       {"of-alice", "of-bob", "of-the-blog"},
		base + "-web@":   nil,
	} {
		for _, lines := range []int{-1, 1000} {
			list := read(t, Query{Prefix: prefix, Slice: slice, Lines: lines})
			if got := messages(list, false); !slices.Equal(got, want) {
				t.Errorf("%s: got %q, want %q", prefix, got, want)
			}
			about := map[string]bool{}
			for _, e := range list {
				if about[e.Unit] = true; !strings.HasPrefix(e.Unit, prefix) {
					t.Errorf("%s: got %+v", prefix, e)
				}
			}
			if len(messages(list, true)) < 2*len(want) || len(about) < len(want) {
				t.Errorf("%s: got %q of the manager about %v", prefix, messages(list, true), about)
			}
		}
	}
	// Some of them by name.
	some := Query{Prefix: base + "-", Slice: slice, Units: []string{base + "-notes@alice.service", base + "-blog@alice.service"}, Lines: -1}
	list := read(t, some)
	if got, want := slices.Compact(messages(list, false)), []string{"of-alice", "of-the-blog"}; !slices.Equal(got, want) {
		t.Errorf("of two units: got %q, want %q", got, want)
	}
	if len(messages(list, true)) < 4 || slices.ContainsFunc(list, func(e Entry) bool { return !slices.Contains(some.Units, e.Unit) }) {
		t.Errorf("of two units: got %+v", list)
	}
	some.Units = append(some.Units, "other.service")
	if _, err := first(t.Context(), New(System), some); tenant.CodeOf(err) != tenant.CodeInvalid {
		t.Errorf("a unit of another prefix: got %v", err)
	}
	if _, err := first(t.Context(), New(System), Query{Prefix: "x", Lines: 1}); tenant.CodeOf(err) != tenant.CodeInvalid {
		t.Errorf("without a slice: got %v", err)
	}
}

// A journal of many tenants in several files. `make bench-logs` has a large one, and
// looks at the time; here it is what is found.
func TestJournalOfManyTenants(t *testing.T) {
	dir := t.TempDir()
	to := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	o := journaltest.Options{Tenants: 20, Entries: 6000, RareEvery: 25, Files: 2, From: to.AddDate(0, 0, -30), To: to}
	if err := journaltest.Write(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	r := New(System).In(dir)
	ask := func(q Query) (list []Entry) {
		t.Helper()
		for e, err := range r.Read(t.Context(), q) {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, e)
		}
		return list
	}
	found, sum, last := 0, 0, time.Time{}
	for i := range o.Tenants {
		all := ask(Query{Unit: journaltest.Unit(i), Lines: -1})
		sum += len(all)
		week := to.AddDate(0, 0, -7)
		var want []Entry
		for _, e := range all {
			if strings.Contains(e.Message, journaltest.Word) && !e.Time.Before(week) {
				want = append(want, e)
			}
			if e.Time.After(last) {
				last = e.Time
			}
		}
		got := ask(Query{Unit: journaltest.Unit(i), Lines: 100, Since: week, Search: strings.ToLower(journaltest.Word)})
		if !slices.Equal(got, want) {
			t.Errorf("tenant %d: got %d entries, want %d", i, len(got), len(want))
		}
		found += len(got)
	}
	if sum != o.Entries || found < o.Tenants || last.Before(to.Add(-time.Hour)) {
		t.Errorf("got %d entries until %v, of which %d have the word", sum, last, found)
	}
	everybody := ask(Query{Prefix: "tenement-notes@", Slice: "tenement.slice", Lines: 10 * found, Since: to.AddDate(0, 0, -7), Search: journaltest.Word})
	if len(everybody) != found {
		t.Errorf("of all tenants: got %d entries, want %d", len(everybody), found)
	}
	wantNoChildren(t)
}
