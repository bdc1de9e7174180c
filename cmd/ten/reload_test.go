package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
		`proxy_protocol = true`:             "proxy_protocol",
		"[settings.tls]\nacme = true":       "[settings.tls]",
		`max_waiting = 10`:                  "",
	} {
		write(settings)
		switch _, err := reload(t.Context(), old); {
		case want == "" && err != nil:
			t.Errorf("%s: %v", settings, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "while the daemon runs")):
			t.Errorf("%s: got %v, want that %s cannot change", settings, err, want)
		}
	}
}
