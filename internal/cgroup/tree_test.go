package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

func TestCPU(t *testing.T) {
	id := tenant.ID{Service: "my-app", Name: "alice"}
	tree := Tree{t.TempDir()}
	if _, err := tree.CPU(id); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not running: got %v, want it not to exist", err)
	}
	dir := filepath.Join(tree.root, "tenement.slice/tenement-my-app@alice.service")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]time.Duration{
		"usage_usec 1234567\nuser_usec 1\nsystem_usec 2\n": 1234567 * time.Microsecond,
		"user_usec 7\nusage_usec 0\n":                      0,
		"":                                                 -1,
		"usage_usec x\n":                                   -1,
	} {
		if err := os.WriteFile(filepath.Join(dir, "cpu.stat"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := tree.CPU(id)
		if want < 0 && err == nil || want >= 0 && (err != nil || got != want) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestFindWithoutSuchAGroup(t *testing.T) {
	if tree, err := Find("/no/such/group.slice"); err == nil {
		t.Errorf("got %v, want an error", tree)
	}
}
