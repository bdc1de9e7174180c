package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// What the daemon only looks at when it starts cannot be reloaded, and that is said.
func TestReloadRefusesWhatOnlyAStartTakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenement.toml")
	write := func(settings string) {
		t.Helper()
		text := "[settings]\ntrusted_proxies = [\"127.0.0.1\"]\n" + settings + "\n[service.app]\ncommand = \"/bin/true\"\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	old, err := loadConfig(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for settings, want := range map[string]string{
		`data_dir = "elsewhere"`:            "data_dir",
		`domain = "example.com"`:            "domain",
		`api_listen = "127.0.0.1:9090"`:     "api_listen",
		`metrics_listen = "127.0.0.1:9464"`: "metrics_listen",
		`fast_path = false`:                 "fast_path",
		`proxy_protocol = true`:             "proxy_protocol",
		"[settings.tls]\nacme = true":       "[settings.tls]",
		`max_waiting = 10`:                  "",
	} {
		write(settings)
		switch _, err := reload(t.Context(), old); {
		case want == "" && err != nil:
			t.Errorf("%s: %v", settings, err)
		case want != "" && (!errors.Is(err, errNeedsRestart) || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want that %s cannot change", settings, err, want)
		}
	}

	// One fault is said once, with what to do, each of several on a line of its own.
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("adopt: %w", &tenant.Error{Op: "read configuration", Msg: "it is not root's: mode 0666", Hint: "chmod go-w", Err: errors.New("mode 0666")}), "it is not root's: mode 0666; chmod go-w"},
		{&tenant.Error{Msg: "no hint"}, "no hint"},
		{errors.New("a:1: x\na:2: y\n"), "a:1: x|a:2: y"},
	} {
		if got := strings.Join(faultLines(c.err), "|"); got != c.want {
			t.Errorf("faults: got %q, want %q", got, c.want)
		}
	}

	// Who has changed such a key is told what to do, and who has made a mistake to mend it.
	r := reloader{old: old, events: event.NewBus(1), log: slog.New(slog.DiscardHandler)}
	for settings, want := range map[string]string{
		`domain = "example.com"`: "waits for a restart of the daemon, `systemctl restart tenement`",
		`colour = 1`:             "mend what is named below",
	} {
		write(settings)
		var e *tenant.Error
		if err := r.reload(t.Context()); !errors.As(err, &e) || !strings.Contains(e.Hint, want) {
			t.Errorf("%s: got %v, want the hint %q", settings, err, want)
		}
	}
}
