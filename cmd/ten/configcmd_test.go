package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Where there is no tenement.toml but the machine's daemon has one, that one is named.
func TestConfigOfTheMachine(t *testing.T) {
	t.Chdir(t.TempDir())
	etc := t.TempDir()
	path := filepath.Join(etc, "tenement", "tenement.toml")
	check := func(want string, args ...string) {
		t.Helper()
		got := runIn(t, func(w *world) { w.etc = etc }, args...)
		if got.code != exitConfig || !strings.Contains(got.err, "\nhint: "+want) {
			t.Errorf("%v: got %+v, want the hint %q", args, got, want)
		}
	}
	check("`ten init` writes one", "config", "check")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check("for the daemon of this machine say `ten config check -c "+path+"`", "config", "check")
	check("for the daemon of this machine say `ten config show -c "+path+"`", "config", "show")
	check("`ten init` writes one", "config", "show", "-c", "other.toml")
}
