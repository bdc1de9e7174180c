package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Where there is no tenement.toml it is that of the machine's daemon, and the command says so.
func TestConfigOfTheMachine(t *testing.T) {
	t.Chdir(t.TempDir())
	etc := t.TempDir()
	path := filepath.Join(etc, "tenement", "tenement.toml")
	check := func(code int, out, err string, args ...string) {
		t.Helper()
		got := runIn(t, func(w *world) { w.etc = etc }, args...)
		if got.code != code || !strings.Contains(got.out, out) || !strings.Contains(got.err, err) {
			t.Errorf("%v: got %+v, want code %d, %q and %q", args, got, code, out, err)
		}
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check(exitConfig, "", "\nhint: `ten init` writes one", "config", "check")

	write(path, "[settings]\ndomain = \"system.example\"\n[service.theirs]\ncommand = \"/bin/true\"\n")
	said := "there is no tenement.toml here; this is of " + path + "\n"
	check(exitOK, path+" is right: 1 service", said, "config", "check")
	check(exitOK, `"file": "`+path+`"`, said, "config", "check", "--json")
	check(exitOK, `domain = "system.example"`, said, "config", "show")
	check(exitOK, "*.theirs.system.example", said, "caddy", "--dns-provider", "cloudflare")
	check(exitConfig, "", "there is no other.toml", "config", "show", "-c", "other.toml")

	write("tenement.toml", "[settings]\ndomain = \"own.example\"\n")
	check(exitOK, `domain = "own.example"`, "", "config", "show")
	check(exitConfig, "", "unknown key", "config", "check", "-c", faulty(t))
}

// faulty is a file with a fault.
func faulty(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "faulty.toml")
	if err := os.WriteFile(path, []byte("[settings]\ndomian = \"x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
