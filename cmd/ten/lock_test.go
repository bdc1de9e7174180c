package main

import (
	"context"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

// A daemon that starts where one has just been killed has the lock as soon as that is gone;
// one that goes on keeps it.
func TestLockSoon(t *testing.T) {
	dir := t.TempDir()
	held, err := lock(dir, "directory")
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := lockSoon(ended, dir, "directory"); tenant.CodeOf(err) != tenant.CodeConflict {
		t.Fatalf("while another has it: got %v, want a conflict", err)
	}
	time.AfterFunc(200*time.Millisecond, func() { held.Close() })
	mine, err := lockSoon(t.Context(), dir, "directory")
	if err != nil {
		t.Fatalf("once the other is gone: got %v", err)
	}
	defer mine.Close()
	if _, err := lock(dir, "directory"); tenant.CodeOf(err) != tenant.CodeConflict {
		t.Errorf("beside ours: got %v, want a conflict", err)
	}
}
