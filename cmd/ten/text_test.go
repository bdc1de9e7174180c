package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain ä 世\t.":              "plain ä 世\t.",
		"\x1b[1;31mred\x1b[0m":      "red",
		"\x1b[38:5:1mred\x1b[m":     "red",
		"\x1b]0;title\x07":          "\ufffd]0;title\ufffd",
		"\x1b[2Jgone":               "\ufffd[2Jgone",
		"two\r\nlines":              "two  lines",
		"a\u202eb\u0085c\x00d\x7fe": "a\ufffdb\ufffdc\ufffdd\ufffde",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q): got %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[31mb\nc\x9b")
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		if !utf8.ValidString(got) {
			t.Errorf("clean(%q) is not valid UTF-8", s)
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return r != '\t' && unicode.IsControl(r) }); i >= 0 {
			t.Errorf("clean(%q) = %q has a control character", s, got)
		}
	})
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "now", 0: "now", 999 * time.Millisecond: "now", time.Second: "1s", 59 * time.Second: "59s",
		time.Minute: "1m", 59 * time.Minute: "59m", time.Hour: "1h", 47 * time.Hour: "47h", 48 * time.Hour: "2d",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v): got %q, want %q", d, got, want)
		}
	}
}

func TestMillis(t *testing.T) {
	for ms, want := range map[float64]string{0: "0.0 ms", 1.44: "1.4 ms", 63.2: "63 ms", 9999: "9999 ms", 12345: "12.3 s"} {
		if got := millis(ms); got != want {
			t.Errorf("millis(%v): got %q, want %q", ms, got, want)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{reported(4), 4},
		{fmt.Errorf("ps: %w", &tenant.Error{Code: tenant.CodeUnavailable, Err: client.ErrNoDaemon}), 3},
		{&tenant.Error{Code: tenant.CodeInvalid}, 2},
		{&tenant.Error{Code: tenant.CodeNotFound}, 4},
		{&tenant.Error{Code: tenant.CodeStartFailed}, 5},
		{&tenant.Error{Code: tenant.CodeStartTimeout}, 5},
		{&tenant.Error{Code: tenant.CodeFailed}, 5},
		{&tenant.Error{Code: tenant.CodeLimit}, 1},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("exitCode(%v): got %d, want %d", c.err, got, c.want)
		}
	}
}

// An error that is not for one reader in particular, such as all that is wrong with a
// configuration, is printed line by line.
func TestReportOfSeveralLines(t *testing.T) {
	var errs strings.Builder
	p := &program{world: world{err: &errs}}
	p.report(errors.New("tenement.toml:1: no\ntenement.toml:2: neither"))
	if got, want := errs.String(), "ten: tenement.toml:1: no\nten: tenement.toml:2: neither\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestClockHasTheDateWhereItIsAnothers(t *testing.T) {
	now := time.Date(2026, 12, 31, 23, 40, 0, 0, time.Local)
	for after, want := range map[time.Duration]string{
		10 * time.Minute:     "23:50:00",
		30 * time.Minute:     "2027-01-01 00:10:00",
		365 * 24 * time.Hour: "2027-12-31 23:40:00",
	} {
		if got := clock(now, now.Add(after)); got != want {
			t.Errorf("after %v: got %s, want %s", after, got, want)
		}
	}
}
