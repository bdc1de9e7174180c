package keeper

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// TestVault is of a user's secrets, which no key of the machine protects.
func TestVault(t *testing.T) {
	dir := t.TempDir()
	l := &Local{vault: newVault(units.Host{User: true, DataRoot: filepath.Join(dir, "data"), RuntimeDir: filepath.Join(dir, "run")}, slog.New(slog.DiscardHandler))}
	alice, bob, service := tenant.ID{Service: "notes", Name: "alice"}, tenant.ID{Service: "notes", Name: "bob"}, tenant.ID{Service: "notes"}
	set := func(id tenant.ID, name, value string) {
		t.Helper()
		if err := l.SetSecret(t.Context(), id, name, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	for _, value := range []string{"earlier", "alice's"} {
		set(alice, "KEY", value)
	}
	set(bob, "KEY", "bob's")
	set(service, "ALL", "everybody's")

	spec := tenant.Spec{ID: alice, Secrets: []tenant.SecretRef{{Name: "ALL", Service: true}, {Name: "KEY"}}}
	want := map[string]string{"KEY": "alice's", "ALL": "everybody's"}
	for range 2 { // loading what is loaded is no error
		list, err := l.vault.load(spec)
		if err != nil || len(list) != 2 {
			t.Fatalf("got %v, %v, want 2", list, err)
		}
		for _, c := range list {
			text, err := os.ReadFile(c.Path)
			info, _ := os.Stat(c.Path)
			if err != nil || string(text) != want[c.Name] || c.Encrypted || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: got %q in %v, %v, want %q", c.Name, text, info, err, want[c.Name])
			}
		}
	}
	if err := l.vault.unload(alice); err != nil || exists(filepath.Join(dir, "run/secrets/notes@alice")) {
		t.Errorf("the values outlast the unit: %v", err)
	}

	// At rest nothing of it can be read, nor put in another's place.
	kept := filepath.Join(dir, "data/.secrets")
	files, _ := filepath.Glob(filepath.Join(kept, "*/*"))
	if len(files) != 3 {
		t.Errorf("got files %v, want 3", files)
	}
	for _, path := range append(files, filepath.Join(kept, ".key")) {
		text, err := os.ReadFile(path)
		info, _ := os.Stat(path)
		if err != nil || len(text) == 0 || strings.Contains(string(text), "'s") || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes with mode %v, %v, or a value", path, len(text), info.Mode(), err)
		}
	}
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v, want a directory for this user alone", info, err)
	}
	if err := os.Rename(filepath.Join(kept, "notes@bob/KEY.sealed"), filepath.Join(kept, "notes@alice/KEY.sealed")); err != nil {
		t.Fatal(err)
	}
	if list, err := l.vault.load(spec); tenant.CodeOf(err) != tenant.CodeUnavailable || !strings.Contains(err.Error(), "secret KEY of notes:alice") {
		t.Errorf("with another's value: got %v, %v", list, err)
	}

	for _, id := range []tenant.ID{{Service: "..", Name: "alice"}, {Service: "notes", Name: "../alice"}, {Service: "", Name: "alice"}} {
		if err := l.SetSecret(t.Context(), id, "KEY", []byte("v")); tenant.CodeOf(err) != tenant.CodeInvalid {
			t.Errorf("%+v: got %v, want it refused", id, err)
		}
		if err := l.RemoveSecrets(t.Context(), id); tenant.CodeOf(err) != tenant.CodeInvalid {
			t.Errorf("%+v: got %v, want it refused", id, err)
		}
	}
	if err := l.RemoveSecrets(t.Context(), alice, "../../notes/ALL"); tenant.CodeOf(err) != tenant.CodeInvalid {
		t.Errorf("got %v, want it refused", err)
	}
	for range 2 {
		if err := l.RemoveSecrets(t.Context(), alice); err != nil {
			t.Error(err)
		}
		if err := l.RemoveSecrets(t.Context(), service, "ALL"); err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(kept, "*/*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
