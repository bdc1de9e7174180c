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

func TestWaited(t *testing.T) {
	id := tenant.ID{Service: "my-app", Name: "alice"}
	tree := Tree{t.TempDir()}
	if got, err := tree.Waited(id); got != 0 || err != nil {
		t.Errorf("no such file: got %v, %v, want 0", got, err)
	}
	if err := os.MkdirAll(tree.Dir(id), 0o755); err != nil {
		t.Fatal(err)
	}
	const some = "some avg10=81.16 avg60=78.90 avg300=52.25 total=14455135908\n"
	for text, want := range map[string]time.Duration{
		some + "full avg10=1.00 avg60=2.00 avg300=3.00 total=1234567\n": 1234567 * time.Microsecond,
		some + "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n":       0,
		some:                0, // before Linux 5.13
		"full total=x\n":    -1,
		"full avg10=1.00\n": -1,
	} {
		if err := os.WriteFile(filepath.Join(tree.Dir(id), "cpu.pressure"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := tree.Waited(id)
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
