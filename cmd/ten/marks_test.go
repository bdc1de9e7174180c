package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tenement.dev/internal/tenant"
)

func TestMarks(t *testing.T) {
	m := marks{filepath.Join(t.TempDir(), "armed")}
	alice, bob := tenant.ID{Service: "notes", Name: "alice"}, tenant.ID{Service: "notes", Name: "bob"}
	have := func(want ...tenant.ID) {
		t.Helper()
		if got, err := m.All(); err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	have()
	if err := m.Clear(alice); err != nil {
		t.Error(err)
	}
	for _, id := range []tenant.ID{alice, bob, bob} {
		if err := m.Set(id, "print of "+id.Name); err != nil {
			t.Fatal(err)
		}
	}
	have(alice, bob)
	if err := m.Clear(alice); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.dir, "no mark"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	have(bob)
	for id, want := range map[tenant.ID]string{alice: "", bob: "print of bob"} {
		if got, err := m.Get(id); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", id, got, err, want)
		}
	}
}
