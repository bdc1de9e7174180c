package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenement.dev/internal/config"
	"tenement.dev/units"
)

func TestWarnings(t *testing.T) {
	able := units.Host{RuntimeDir: "/run/tenement", PrivatePIDs: true, PrivateNetwork: true, Namespaces: true, BindFence: true, ConnectFence: true}
	unable := able
	unable.ConnectFence = false
	user := unable
	user.User = true
	low, high, ok := clientPorts()
	if !ok || low < 1024 || high < low || high > 65535 {
		t.Fatalf("got %d to %d, %t", low, high, ok)
	}
	const fence, cannot, ports, tells = "not fenced", "cannot run", "kernel gives to clients", "can read the configuration"
	for _, c := range []struct {
		name, config string
		host         units.Host
		mode         os.FileMode
		want         string
	}{
		{"fenced", "", able, 0o644, ""},
		{"no fence", "", unable, 0o644, fence},
		{"no fence for users", "", user, 0o644, ""}, // of whom it is known
		{"own network", "network = \"private\"\n", unable, 0o644, ""},
		{"process", "isolation = \"process\"\n", unable, 0o644, ""},
		{"limit", "memory_limit_mb = 1\n", able, 0o644, cannot},
		{"clients' ports", "[settings]\nport_range = \"2000-65535\"\n", able, 0o644, ports},
		{"open", "env = { KEY = \"x\" }\n", able, 0o644, tells},
		{"closed", "env = { KEY = \"x\" }\n", able, 0o640, ""},
		{"open of a user", "env = { KEY = \"x\" }\n", user, 0o644, ""},
	} {
		path := filepath.Join(t.TempDir(), "tenement.toml")
		if err := os.WriteFile(path, []byte("[service.web]\ncommand = \"/bin/true\"\n"+c.config), c.mode); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		warnOfServices(cfg, c.host, slog.New(slog.NewTextHandler(&log, nil)))
		for _, text := range []string{fence, cannot, ports, tells} {
			if got := strings.Contains(log.String(), text); got != (text == c.want) {
				t.Errorf("%s: warned that %q: %t, want %t:\n%s", c.name, text, got, text == c.want, &log)
			}
		}
	}
}

func TestWarnOfNothing(t *testing.T) {
	for _, c := range []struct {
		text  string
		https bool
		want  []string
	}{
		{"", false, []string{"no service is configured"}},
		{"[service.web]\ncommand = \"/bin/true\"\n", true, []string{"--https-port has no effect"}},
		{"[service.web]\ncommand = \"/bin/true\"\n", false, nil},
		{"[service.web]\ncommand = \"/bin/true\"\n[settings.tls]\nacme = true\n", true, nil},
	} {
		cfg, err := config.Parse("tenement.toml", []byte(c.text), "/")
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		warnOfNothing(cfg, c.https, slog.New(slog.NewTextHandler(&log, nil)))
		if strings.Count(log.String(), "\n") != len(c.want) {
			t.Errorf("%q: got %s, want %q", c.text, &log, c.want)
		}
		for _, want := range c.want {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%q: got %s, want %q in it", c.text, &log, want)
			}
		}
	}
}
