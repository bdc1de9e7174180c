package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
	"tenement.dev/journal"
	"tenement.dev/journal/journaltest"
)

// goal is what a word in the last 7 days of one tenant may take.
const goal = 300 * time.Millisecond

// The journal's lines end at a fixed time, so that it can be kept.
var (
	end     = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	options = journaltest.Options{
		Tenants: 1000, Entries: 1_500_000, RareEvery: 50, Files: 8, From: end.AddDate(0, 0, -30), To: end,
	}
)

// version is that of what is made; another one is made anew.
const version = 2

// prepare makes the journal where it is not there yet.
func prepare(ctx context.Context, cache string) (dir string, err error) {
	dir = filepath.Join(cache, fmt.Sprintf("journal-%d", version))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	tmp, err := os.MkdirTemp(cache, "building-journal-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	fmt.Fprintln(os.Stderr, "bench: making the journal (once, a minute or two)")
	begun := time.Now()
	if err := journaltest.Write(ctx, tmp, options); err != nil {
		return "", err
	}
	fmt.Fprintf(os.Stderr, "bench: made in %v\n", time.Since(begun).Round(time.Second))
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return dir, nil
}

// question is one that is asked.
type question struct {
	what       string
	query      journal.Query
	journalctl []string // the same, of journalctl
	goal       time.Duration
}

func questions() []question {
	unit, busiest := journaltest.Unit(321), journaltest.Unit(journaltest.Busiest)
	week := end.AddDate(0, 0, -7)
	since := "--since=@" + fmt.Sprint(week.Unix())
	grep := "--grep=" + strings.ToLower(journaltest.Word)
	return []question{
		{"a word, one tenant, 7 days", journal.Query{Unit: unit, Since: week, Lines: 100, Search: journaltest.Word}, []string{"-u", unit, since, grep}, goal},
		{"a word, the busiest tenant, 7 days", journal.Query{Unit: busiest, Since: week, Lines: 100, Search: journaltest.Word}, []string{"-u", busiest, since, grep}, goal},
		{"a word that is not there, busiest, 7 days", journal.Query{Unit: busiest, Since: week, Lines: 100, Search: "nowhere"}, []string{"-u", busiest, since, "--grep=nowhere"}, goal},
		{"a word that is not there, busiest, 30 days", journal.Query{Unit: busiest, Lines: 100, Search: "nowhere"}, []string{"-u", busiest, "--grep=nowhere"}, 0},
		{"an expression, the busiest tenant, 7 days", journal.Query{Unit: busiest, Since: week, Lines: 100, Grep: regexp.MustCompile(`(mail|queue)\s.*` + journaltest.Word + "$")}, []string{"-u", busiest, since, "--grep=(mail|queue)\\s.*" + journaltest.Word + "$"}, goal},
		{"a bare expression, the busiest tenant, 7 days", journal.Query{Unit: busiest, Since: week, Lines: 100, Grep: regexp.MustCompile(`[0-9]{19}`)}, []string{"-u", busiest, since, "--grep=[0-9]{19}"}, 0},
		{"errors, the busiest tenant, 7 days", journal.Query{Unit: busiest, Since: week, Lines: 100, Level: must(tenant.ParseLevel("err"))}, []string{"-u", busiest, since, "-p", "err", "-n", "100"}, 0},
		{"the last 100 lines of one tenant", journal.Query{Unit: unit, Lines: 100}, []string{"-u", unit, "-n", "100"}, 0},
		{"a word, all tenants, 1 day", journal.Query{Prefix: "tenement-notes@", Slice: "tenement.slice", Since: end.AddDate(0, 0, -1), Lines: 100, Search: journaltest.Word}, []string{"--since=@" + fmt.Sprint(end.AddDate(0, 0, -1).Unix()), grep}, 0},
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func measure(ctx context.Context, cache string, n int) error {
	dir, err := prepare(ctx, cache)
	if err != nil {
		return err
	}
	size, err := sizeOf(dir)
	if err != nil {
		return err
	}
	fmt.Printf("%d entries of %d tenants in %d MB; median of %d\n\n", options.Entries, options.Tenants, size>>20, n)
	fmt.Printf("%-44s %8s %8s %8s %11s\n", "", "found", "cold", "warm", "journalctl")
	reader := journal.New(journal.System).In(dir)
	for _, q := range questions() {
		found := 0
		ask := func() error {
			found = 0
			for _, err := range reader.Read(ctx, q.query) {
				if err != nil {
					return err
				}
				found++
			}
			return nil
		}
		if err := forget(dir); err != nil {
			return err
		}
		cold, err := median(1, ask)
		if err != nil {
			return fmt.Errorf("%s: %w", q.what, err)
		}
		warm, err := median(n, ask)
		if err != nil {
			return fmt.Errorf("%s: %w", q.what, err)
		}
		theirs, err := median(min(n, 3), func() error { return journalctl(ctx, dir, q.journalctl) })
		if err != nil {
			return fmt.Errorf("%s: %w", q.what, err)
		}
		verdict := ""
		if q.goal > 0 {
			verdict = fmt.Sprintf("  goal %v: met", q.goal)
			if warm > q.goal {
				verdict = fmt.Sprintf("  goal %v: MISSED", q.goal)
			}
		}
		fmt.Printf("%-44s %8d %8s %8s %11s%s\n", q.what, found, millis(cold), millis(warm), millis(theirs), verdict)
	}
	return nil
}

func journalctl(ctx context.Context, dir string, args []string) error {
	out, err := exec.CommandContext(ctx, "journalctl", append([]string{"--quiet", "--directory=" + dir, "--output=cat"}, args...)...).CombinedOutput()
	if err != nil && len(out) > 0 { // finding nothing is a failure without a word
		return fmt.Errorf("journalctl: %w: %.200s", err, out)
	}
	return nil
}

func median(n int, ask func() error) (time.Duration, error) {
	took := make([]time.Duration, n)
	for i := range took {
		begun := time.Now()
		if err := ask(); err != nil {
			return 0, err
		}
		took[i] = time.Since(begun)
	}
	slices.Sort(took)
	return took[n/2], nil
}

// forget has the kernel drop the files from its memory.
func forget(dir string) error {
	return eachFile(dir, func(path string, _ int64) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return errors.Join(unix.Fsync(int(f.Fd())), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
	})
}

func sizeOf(dir string) (sum int64, err error) {
	err = eachFile(dir, func(_ string, size int64) error {
		sum += size
		return nil
	})
	return sum, err
}

func eachFile(dir string, do func(path string, size int64) error) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		info, err := e.Info()
		if err != nil {
			return err
		}
		if err := do(filepath.Join(dir, e.Name()), info.Size()); err != nil {
			return err
		}
	}
	return nil
}

func millis(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
