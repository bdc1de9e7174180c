package calendar

import (
	"context"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

func TestNext(t *testing.T) {
	base := time.Date(2026, 11, 22, 10, 20, 30, 500, time.UTC) // a Sunday
	for _, c := range []struct{ zone, entry, want string }{
		{"UTC", "hourly", "2026-11-22T11:00:00Z"},
		{"UTC", "Mon..Fri 06:30", "2026-11-23T06:30:00Z"},
		{"UTC", "*:*:0/5", "2026-11-22T10:20:35Z"},
		{"UTC", "2026-11-22 10:20:30", ""},
		{"Europe/Berlin", "Mon..Fri 06:30", "2026-11-23T05:30:00Z"},
		{"Europe/Berlin", "2027-07-01 12:00", "2027-07-01T10:00:00Z"},
		{"America/New_York", "*-*-* 00:00 UTC", "2026-11-23T00:00:00Z"},
		{"UTC", "2020-01-01", ""},
	} {
		t.Run(c.zone+" "+c.entry, func(t *testing.T) {
			t.Setenv("TZ", c.zone)
			var want time.Time
			if c.want != "" {
				var err error
				if want, err = time.Parse(time.RFC3339, c.want); err != nil {
					t.Fatal(err)
				}
			}
			got, err := Next(t.Context(), c.entry, base)
			if err != nil || !got.Equal(want) {
				t.Errorf("got %v, %v, want %v", got, err, want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for _, entry := range []string{"Mon..Fri 06:30", "2020-01-01"} {
		if err := Check(t.Context(), entry); err != nil {
			t.Errorf("%q: got %v, want no error", entry, err)
		}
	}
	for _, entry := range []string{"sometimes", "--help", "25:00"} {
		if err := Check(t.Context(), entry); tenant.CodeOf(err) != tenant.CodeInvalid {
			t.Errorf("%q: got %v, want it invalid", entry, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Check(ctx, "hourly"); err == nil {
		t.Error("got no error although there was no time to ask")
	}
	t.Setenv("PATH", t.TempDir())
	if err := Check(t.Context(), "hourly"); tenant.CodeOf(err) != tenant.CodeUnsupported {
		t.Errorf("without systemd-analyze: got %v, want it unsupported", err)
	}
}

func TestParse(t *testing.T) {
	for _, out := range []string{"", "Next elapse: soon\n", "    Next elapse: Sun 2026-11-22 11:00:00 CET\n", "(in UTC): 2026 UTC\n"} {
		if got, err := parse(out); err == nil {
			t.Errorf("%q: got %v, want an error", out, got)
		}
	}
}
