package certs

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"tenement.dev/test/fakeclock"
)

func TestCovers(t *testing.T) {
	dir := t.TempDir()
	first := selfSigned(t, dir, 1, "example.com", "*.notes.example.com")
	s := newSource(t, Options{Files: []Pair{first, selfSigned(t, dir, 2, "blog.example")}})
	for host, want := range map[string]bool{"any.notes.example.com": true, "blog.example": true, "notes.example.com": false, "x.blog.example": false} {
		if got := s.Covers(host); got != want {
			t.Errorf("%s: got %t, want %t", host, got, want)
		}
	}
	if path, end := s.Expiring(); path != first.Cert || end.Before(time.Now()) || end.After(time.Now().Add(time.Hour)) {
		t.Errorf("got %s, %v", path, end)
	}
	acme := newSource(t, Options{ACME: &ACME{PerHour: 1, PerDomain: 1}})
	if path, _ := acme.Expiring(); path != "" || !acme.Covers("anything.example") {
		t.Errorf("with ACME: got %q, want no file and every host", path)
	}
}

// A handshake for a host without a certificate leaves a line, which many of them do not
// multiply.
func TestUncoveredHandshakes(t *testing.T) {
	s := newSource(t, Options{
		Files: []Pair{selfSigned(t, t.TempDir(), 1, "example.com")},
		Known: func(host string) bool { return host == "alice.notes.example.com" },
	})
	var log bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	for range 5 {
		for _, host := range []string{"alice.notes.example.com", "elsewhere.example"} {
			if _, err := handshake(t, s, host); err == nil {
				t.Errorf("%s got a certificate", host)
			}
		}
	}
	if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, `level=WARN msg="no certificate for a host that is served here" host=alice.notes.example.com client=127.0.0.1`) ||
		!strings.Contains(got, `level=INFO msg="TLS for a host that is not served here" host=elsewhere.example`) {
		t.Errorf("got log\n%s", got)
	}
}

func TestSometimes(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var s sometimes
		for i, want := range []bool{true, false, false} {
			if _, ok := s.now(time.Now()); ok != want {
				t.Errorf("%d: got %t, want %t", i, ok, want)
			}
		}
		time.Sleep(sayInterval)
		if missed, ok := s.now(time.Now()); !ok || missed != 2 {
			t.Errorf("got %d, %t, want 2 that were left out", missed, ok)
		}
	})
}
