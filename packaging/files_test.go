package packaging_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenement.dev/internal/config"
	"tenement.dev/packaging"
)

// tour is the default tenement.toml.
func tour(t *testing.T) string {
	t.Helper()
	files, err := packaging.Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Path == packaging.ConfigPath {
			return string(f.Text)
		}
	}
	t.Fatalf("no file is %s", packaging.ConfigPath)
	return ""
}

// load reads a tenement.toml in a directory that has the app of the tour.
func load(t *testing.T, text string) (*config.Config, error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "tenement.toml")
	for name, text := range map[string]string{path: text, filepath.Join(dir, "app.py"): ""} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return config.Load(path)
}

// The default configuration is right, as it is and with each of its examples taken.
func TestTour(t *testing.T) {
	text := tour(t)
	if _, err := load(t, text); err != nil {
		t.Errorf("as it is installed: %v", err)
	}
	var taken strings.Builder
	examples := 0
	for line := range strings.Lines(text) {
		example, ok := strings.CutPrefix(line, "#")
		ok = ok && !strings.HasPrefix(example, " ")
		switch {
		case ok && (strings.HasPrefix(example, "cert =") || strings.HasPrefix(example, "key =")):
			continue // files that the reader has
		case ok && strings.HasPrefix(example, "workdir ="):
			continue // the directory of tenement.toml
		case ok:
			examples++
			line = example
		}
		taken.WriteString(line)
	}
	cfg, err := load(t, taken.String())
	if err != nil {
		t.Fatalf("with its examples: %v\n%s", err, taken.String())
	}
	if examples < 15 || cfg.Services["notes"] == nil || len(cfg.Instances) != 2 || !cfg.Settings.TLS.ACME {
		t.Errorf("%d examples: got services %v and instances %v, want notes with two", examples, cfg.Services, cfg.Instances)
	}
}

func TestConfigure(t *testing.T) {
	cfg, err := load(t, string(packaging.Configure([]byte(tour(t)), "app.example.com", true)))
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Settings.Domains; len(got) != 1 || got[0] != "app.example.com" {
		t.Errorf("domains: got %v, want app.example.com", got)
	}
	if len(cfg.Settings.TrustedProxies) != 2 {
		t.Errorf("behind Caddy: got trusted proxies %v, want those of this machine", cfg.Settings.TrustedProxies)
	}
	if got := cfg.Settings.Public; got.Scheme != "https" || got.Port != 443 {
		t.Errorf("behind Caddy: got URLs that begin with %v, want https", got)
	}
}
