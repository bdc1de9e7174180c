package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"tenement.dev/internal/ingress"
)

// A freeze that takes too long can be tried again, and one that the machine lacks the
// files for cannot.
func TestDozeRefusals(t *testing.T) {
	dir := t.TempDir()
	left := make(chan struct{})
	close(left)
	s := &supervisor{phase: running, cg: &cgroup{unit: dir, dir: dir, left: left}}
	refused := func(want ingress.Class) {
		t.Helper()
		_, err := s.doze()
		var refusal *ingress.Refusal
		if !errors.As(err, &refusal) || refusal.Class != want {
			t.Errorf("got %v, want class %s", err, want)
		}
		if s.frozen {
			t.Error("it is taken for frozen")
		}
	}
	refused(ingress.ClassUnsupported)
	for name, text := range map[string]string{"cgroup.freeze": "0", "cgroup.events": "populated 1\nfrozen 0\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused(ingress.ClassNotFrozen)
	if got, err := os.ReadFile(filepath.Join(dir, "cgroup.freeze")); err != nil || string(got) != "0" {
		t.Errorf("got cgroup.freeze %q, %v, want it thawed", got, err)
	}
}
