package lifecycle

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"tenement.dev/internal/config"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

// TestSavesWhatHasChanged: an instance is looked at by a save if it has changed since the one
// before, or that has failed, or it has a request in flight; no other one is.
func TestSavesWhatHasChanged(t *testing.T) {
	ctx := t.Context()
	store, err := registry.Open(ctx, filepath.Join(t.TempDir(), "registry.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	m := New(Options{Config: &config.Config{}, Store: store, Log: slog.New(slog.DiscardHandler)})
	var all []*instance
	for _, name := range []string{"alice", "bob"} {
		inst, _, err := m.register(ctx, tenant.ID{Service: "notes", Name: name}, 0, tenant.Weight{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, inst)
	}
	alice := all[0]
	moment := time.Now().UTC().Truncate(time.Second)
	change := func(f func()) {
		moment = moment.Add(time.Second)
		alice.mu.Lock()
		defer alice.mu.Unlock()
		f()
	}
	active := func() {
		alice.activeLocked(moment)
		alice.activeLocked(moment.Add(time.Millisecond))
	}
	check := func(when string, unsaved int, saved time.Time) {
		t.Helper()
		if got := len(m.common.unsaved); got != unsaved {
			t.Errorf("%s: %d are to be saved, want %d", when, got, unsaved)
		}
		rows, err := store.Instances(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []time.Time{saved, {}} {
			if got := rows[i].LastActive; !got.Equal(want) {
				t.Errorf("%s: %s was last active at %v, want %v", when, rows[i].ID, got, want)
			}
		}
	}

	check("new", 0, time.Time{})
	change(active)
	check("changed", 1, time.Time{})
	if err := m.save(ctx); err != nil {
		t.Fatal(err)
	}
	last := moment.Add(time.Millisecond)
	check("saved", 0, last)

	change(func() {
		active()
		alice.brake.own().fail(moment, config.Settings{})
	})
	ended, end := context.WithCancel(ctx)
	end()
	if err := m.save(ended); err == nil {
		t.Error("saved with a context that has ended")
	}
	check("not saved", 1, last)
	if err := m.save(ctx); err != nil {
		t.Fatal(err)
	}
	last = moment.Add(time.Millisecond)
	check("saved at last", 0, last)
	brakes, err := store.Brakes(ctx)
	if got := brakes[alice.id].Failures; err != nil || len(got) != 1 {
		t.Errorf("got the failures %v, %v, want one", got, err)
	}

	change(func() {
		alice.requests++
		active()
	})
	for range 2 {
		if err := m.save(ctx); err != nil {
			t.Fatal(err)
		}
		if got := len(m.common.unsaved); got != 1 {
			t.Errorf("with a request in flight %d are to be saved, want 1", got)
		}
	}
	change(func() {
		alice.requests--
		alice.removed = true
	})
	last = alice.lastActive.Truncate(time.Microsecond)
	change(func() { alice.activeLocked(last.Add(time.Hour)) })
	if err := m.save(ctx); err != nil {
		t.Fatal(err)
	}
	check("destroyed", 0, last)
}
