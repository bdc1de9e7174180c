package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// While the daemon of the package does not run its tokens are in its own registry, beside the keeper's state and not with the
// instances' data.
func TestTokensOfTheMachine(t *testing.T) {
	t.Chdir(t.TempDir())
	etc, state, data, run := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	ten := func(args ...string) result {
		t.Helper()
		got := runIn(t, func(w *world) { w.etc, w.run, w.euid, w.getenv = etc, run, 0, env("STATE_DIRECTORY", state) }, args...)
		if got.code != exitOK {
			t.Fatalf("%v: got %+v", args, got)
		}
		return got
	}
	config := filepath.Join(etc, "tenement", "tenement.toml")
	for path, text := range map[string]string{
		config: "[settings]\ndata_dir = \"" + data + "\"\n",
		filepath.Join(state, "serve", registryName): "", // an empty database
		"other/tenement.toml":                       "[settings]\ndata_dir = \"data\"\n",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{}, {"-c", config}} {
		got := ten(append([]string{"token", "gen"}, args...)...)
		if !strings.Contains(got.err, "working on the registry in "+filepath.Join(state, "serve")+"\n") {
			t.Errorf("token gen %v: got %+v, want the daemon's own registry", args, got)
		}
	}
	if got := strings.Count(ten("token", "ls").out, "everything"); got != 2 {
		t.Errorf("got %d tokens, want 2", got)
	}
	if list, err := os.ReadDir(data); err != nil || len(list) != 0 {
		t.Errorf("with the data of instances: got %v (%v), want nothing of tokens", list, err)
	}
	got := ten("token", "ls", "-c", "other/tenement.toml")
	if got.out != "" || !strings.Contains(got.err, "there are no tokens") || !strings.Contains(got.err, "nor that of `ten install`") {
		t.Errorf("of another configuration: got %+v, want no tokens, and to be told whose they would be", got)
	}

	// Before the daemon has made its registry there is no place for them.
	if err := os.Remove(filepath.Join(state, "serve", registryName)); err != nil {
		t.Fatal(err)
	}
	got = runIn(t, func(w *world) { w.etc, w.run, w.euid, w.getenv = etc, run, 0, env("STATE_DIRECTORY", state) }, "token", "gen")
	if got.code != exitNoDaemon || got.out != "" || !strings.Contains(got.err, "has never run") || !strings.Contains(got.err, "hint: start it first") {
		t.Errorf("before the daemon's first start: got %+v, want it refused", got)
	}
	if list, err := os.ReadDir(data); err != nil || len(list) != 0 {
		t.Errorf("with the data of instances: got %v (%v), want nothing of tokens", list, err)
	}
}
