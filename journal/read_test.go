package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tenement.dev/internal/tenant"
)

func TestReadsAUnit(t *testing.T) {
	unit, before := unitFor(t), time.Now()
	runUnit(t, unit, `echo hello; echo "<3>oops" >&2; exit 3`)
	list := read(t, Query{Unit: unit, Lines: -1})

	if got, want := messages(list, false), []string{"hello", "oops"}; !slices.Equal(got, want) {
		t.Errorf("the unit's own: got %q, want %q", got, want)
	}
	said := strings.Join(messages(list, true), "\n")
	for _, want := range []string{"Started " + unit, "Main process exited, code=exited, status=3", "Failed with result 'exit-code'"} {
		if !strings.Contains(said, want) {
			t.Errorf("the manager's: got %q, want it to contain %q", said, want)
		}
	}
	for i, e := range list {
		if e.Unit != unit || e.Cursor == "" || e.PID == 0 || e.Time.Before(before.Truncate(time.Microsecond)) || e.Time.After(time.Now()) {
			t.Errorf("got %+v, want unit %s, a cursor, a pid, a time of now", e, unit)
		}
		if i > 0 && e.Time.Before(list[i-1].Time) {
			t.Errorf("entry %d of %v comes after one of %v", i, e.Time, list[i-1].Time)
		}
		switch want := map[string]int{"hello": 6, "oops": 3}[e.Message]; {
		case e.Manager && (e.PID != 1 || e.Identifier != "systemd"):
			t.Errorf("got %+v, want it by systemd, pid 1", e)
		case !e.Manager && (e.PID == 1 || e.Identifier != "bash" || e.Priority != want):
			t.Errorf("got %+v, want it by bash with priority %d", e, want)
		}
	}
	if got := read(t, Query{Unit: "tenement-notes@nobody.service", Lines: -1}); len(got) != 0 {
		t.Errorf("of an unknown unit: got %v, want none", got)
	}
}

// Every combination of bounds, compared with the plain list of everything.
func TestBounds(t *testing.T) {
	unit := unitFor(t)
	for run := range 3 { // three times the manager's lines
		runUnit(t, unit, fmt.Sprintf("for i in 1 2 3 4; do echo %d.$i; done", run))
	}
	all := read(t, Query{Unit: unit, Lines: -1})
	if got := len(messages(all, false)); got != 12 {
		t.Fatalf("got %d lines of the unit, want 12", got)
	}
	n := len(all)
	bounds := []time.Time{{}, all[0].Time.Add(-time.Hour), all[0].Time, all[3].Time, all[n/2].Time, all[n-1].Time, all[n-1].Time.Add(time.Hour)}
	cursors := []string{"", all[0].Cursor, all[n/2].Cursor, all[n-1].Cursor}
	for _, lines := range []int{-1, 0, 1, 5, n, n + 100} {
		for _, since := range bounds {
			for _, until := range bounds {
				if !until.IsZero() && since.After(until) {
					continue
				}
				want := slices.Clone(all)
				want = slices.DeleteFunc(want, func(e Entry) bool {
					return e.Time.Before(since) || !until.IsZero() && e.Time.After(until)
				})
				if lines >= 0 && lines < len(want) {
					want = want[len(want)-lines:]
				}
				got := read(t, Query{Unit: unit, Lines: lines, Since: since, Until: until})
				if !slices.Equal(got, want) {
					t.Errorf("lines %d since %v until %v:\ngot  %q\nwant %q", lines, since, until, texts(got), texts(want))
				}
			}
		}
		for _, after := range cursors {
			want := all
			if i := slices.IndexFunc(all, func(e Entry) bool { return e.Cursor == after }); i >= 0 {
				want = all[i+1:]
				if lines >= 0 {
					want = want[:min(lines, len(want))]
				}
			} else if lines >= 0 {
				want = all[max(0, n-lines):]
			}
			if got := read(t, Query{Unit: unit, Lines: lines, AfterCursor: after}); !slices.Equal(got, want) {
				t.Errorf("lines %d after %q:\ngot  %q\nwant %q", lines, after, texts(got), texts(want))
			}
		}
	}
}

func texts(list []Entry) (texts []string) {
	for _, e := range list {
		texts = append(texts, e.Message)
	}
	return texts
}

func TestOddMessages(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         []string
	}{
		{"not UTF-8", `printf 'caf\xe9 \xff\xfe\n'`, []string{"caf\uFFFD \uFFFD"}},
		{"control characters", `printf '\e[31mred\e[0m\ttab\x01\n'`, []string{"\x1b[31mred\x1b[0m\ttab\x01"}},
		{"unicode", `echo 'äöü € 😀 " \ <b>'`, []string{`äöü € 😀 " \ <b>`}},
		{"no newline at the end", `printf last`, []string{"last"}},
		{"more than journalctl shows without --all", `printf '%5000s\n' x`, []string{fmt.Sprintf("%5000s", "x")}},
		{"zero bytes", `printf 'a\0b\n'`, []string{"a", "b"}}, // journald ends a line at a zero
	} {
		t.Run(c.name, func(t *testing.T) {
			unit := strings.ReplaceAll(unitFor(t), " ", "-")
			runUnit(t, unit, c.script)
			if got := messages(read(t, Query{Unit: unit, Lines: -1}), false); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestHugeLines(t *testing.T) {
	const size = 10 << 20
	unit := unitFor(t)
	runUnit(t, unit, fmt.Sprintf(`head -c %d /dev/zero | tr '\0' y; echo; echo after`, size))
	got, sum := messages(read(t, Query{Unit: unit, Lines: -1}), false), 0
	for _, m := range got {
		sum += strings.Count(m, "y")
	}
	if sum != size { // journald itself cuts lines into entries (LineMax=)
		t.Errorf("got %d bytes of a line on standard output, want %d", sum, size)
	}
	if got[len(got)-1] != "after" {
		t.Errorf("got %q last, want the line after it", got[len(got)-1])
	}

	runRole(t, "send-huge", "", "systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--unit="+unit)
	// The manager's last words on the unit may still come.
	deadline := time.Now().Add(10 * time.Second)
	for {
		list := read(t, Query{Unit: unit, Lines: -1, AfterCursor: read(t, Query{Unit: unit, Lines: 1})[0].Cursor})
		if len(list) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %d entries after the last", len(list))
		}
	}
	found := false
	for _, m := range messages(read(t, Query{Unit: unit, Lines: 10}), false) {
		if !strings.HasPrefix(m, "xxxx") {
			continue
		}
		found = true
		if want := fmt.Sprintf("… [cut: the message has %d bytes]", size); !strings.HasSuffix(m, want) {
			t.Errorf("got %q at the end, want %q", m[len(m)-60:], want)
		}
		if len(m) > MaxMessage+100 || !utf8.ValidString(m) {
			t.Errorf("got %d bytes, valid UTF-8: %v", len(m), utf8.ValidString(m))
		}
	}
	if !found {
		t.Error("the message of 10 MiB is not in the log")
	}
}

// An app may send any field that does not begin with an underscore.
func TestForgedFields(t *testing.T) {
	victim := unitFor(t)
	attacker := "tenement-notes@attacker.service"
	runUnit(t, victim, "echo mine")
	fields := "MESSAGE=counterfeit\nMESSAGE=twice\nPRIORITY=0\nSYSLOG_IDENTIFIER=systemd\n_SYSTEMD_CGROUP=/init.scope\n_PID=1\n_UID=0\n" +
		strings.ReplaceAll("UNIT=@\nUSER_UNIT=@\nOBJECT_SYSTEMD_UNIT=@\nCOREDUMP_UNIT=@\n_SYSTEMD_UNIT=@\n", "@", victim)
	runRole(t, "send", fields, "systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--unit="+attacker)
	// The same from a cgroup below its own that is called like the victim's and the manager's.
	for _, group := range []string{victim, "init.scope"} {
		runRole(t, "send", fields, "systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--unit="+attacker, "--property=Delegate=yes", "--expand-environment=no",
			"bash", "-c", `g=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup | tail -n1)/$0; mkdir "$g" && echo $$ >"$g/cgroup.procs"; exec "$@"`, group)
	}

	for _, e := range read(t, Query{Unit: victim, Lines: -1}) {
		if strings.Contains(e.Message, "counterfeit") {
			t.Errorf("got %+v in the log of another unit", e)
		}
	}
	own := read(t, Query{Unit: attacker, Lines: -1})
	if got, want := messages(own, false), []string{"counterfeit\ntwice", "counterfeit\ntwice", "counterfeit\ntwice"}; !slices.Equal(got, want) {
		t.Errorf("the attacker's own log: got %q, want %q", got, want)
	}
	for _, e := range own {
		if e.Unit != attacker || !e.Manager && e.PID == 1 || !e.Manager && e.Identifier != "systemd" {
			t.Errorf("got %+v, want unit %s, its pid, and the identifier that it chose", e, attacker)
		}
	}
}

// A tenant's processes may have a uid of a user, whose entries journald keeps apart.
func TestUnitOfAnotherUser(t *testing.T) {
	onDisk(t)
	unit := unitFor(t)
	run(t, "systemd-run", "--quiet", "--wait", "--collect", "--unit="+unit, "--uid=dev", "id", "-un")
	run(t, "journalctl", "--sync")
	if got := messages(read(t, Query{Unit: unit, Lines: -1}), false); !slices.Equal(got, []string{"dev"}) {
		t.Errorf("got %q, want what the user's process wrote", got)
	}
}

func TestInvalidQueries(t *testing.T) {
	const unit = "tenement-notes@alice.service"
	for name, q := range map[string]Query{
		"no unit":          {Lines: -1},
		"no service":       {Unit: "ssh.socket", Lines: -1},
		"pattern":          {Unit: "tenement-*.service", Lines: -1},
		"option":           {Unit: "--file=/etc/shadow", Lines: -1},
		"second match":     {Unit: "x.service\x00UNIT=y.service", Lines: -1},
		"long unit":        {Unit: strings.Repeat("x", 300) + ".service", Lines: -1},
		"odd identifier":   {Unit: unit, Lines: -1, Identifier: "x\x00y"},
		"odd cursor":       {Unit: unit, Lines: -1, AfterCursor: "x\x00y"},
		"end of following": {Unit: unit, Follow: true, Until: time.Now()},
		"turned around":    {Unit: unit, Lines: -1, Since: time.Now(), Until: time.Now().Add(-time.Hour)},
	} {
		if _, err := first(t.Context(), New(System), q); tenant.CodeOf(err) != tenant.CodeInvalid {
			t.Errorf("%s: got %v, want %s", name, err, tenant.CodeInvalid)
		}
	}
	wantNoChildren(t)
}

// first gives what comes first, and leaves.
func first(ctx context.Context, r *Reader, q Query) (Entry, error) {
	for e, err := range r.Read(ctx, q) {
		return e, err
	}
	return Entry{}, errors.New("nothing came")
}

func TestWithoutJournalctl(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := first(t.Context(), New(System), Query{Unit: "tenement-notes@alice.service", Lines: -1})
	if tenant.CodeOf(err) != tenant.CodeUnsupported || !strings.Contains(err.Error(), "journalctl was not found") {
		t.Errorf("got %v, want %s", err, tenant.CodeUnsupported)
	}
}

// A journalctl that does not work is tried a few times, and then what it said is told.
func TestBrokenJournalctl(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ script, want string }{
		"fails":       {`echo runs >>"$0.runs"; echo first >&2; echo "Bad message" >&2; exit 1`, "journalctl failed: Bad message"},
		"prints junk": {`echo runs >>"$0.runs"; echo "Hint: see the manual"`, "unexpected output of journalctl"},
	} {
		r := New(System)
		r.backoff = time.Millisecond
		r.command = filepath.Join(dir, strings.Fields(name)[0])
		if err := os.WriteFile(r.command, []byte("#!/bin/sh\n"+c.script), 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := first(t.Context(), r, Query{Unit: "tenement-notes@alice.service", Lines: -1})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		runs, err := os.ReadFile(r.command + ".runs")
		if got := strings.Count(string(runs), "runs"); got != maxFailures {
			t.Errorf("%s: got %d runs, %v, want %d", name, got, err, maxFailures)
		}
	}
	wantNoChildren(t)
}

func TestContextThatHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := first(ctx, New(System), Query{Unit: "tenement-notes@alice.service", Lines: -1}); err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	wantNoChildren(t)
}
