package registry

import (
	"reflect"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

func TestBrakes(t *testing.T) {
	path := newPath(t)
	r, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	alice, bob := id("notes", "alice"), id("notes", "bob")
	mustAdd(t, r, Instance{ID: alice})
	mustAdd(t, r, Instance{ID: bob})
	first := Brake{Restarts: 1, Failures: []time.Time{created}, Reason: "status 1"}
	last := Brake{Restarts: 4, Failures: []time.Time{created, later}, Failed: true, Reason: "signal 9: \"x\""}
	for id, b := range map[tenant.ID]Brake{alice: first, bob: first, id("notes", "nobody"): first} {
		if err := r.SetBrake(t.Context(), id, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.SetBrake(t.Context(), alice, last); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = mustOpen(t, path)
	check := func(want map[tenant.ID]Brake) {
		t.Helper()
		if got, err := r.Brakes(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	check(map[tenant.ID]Brake{alice: last, bob: first})
	if err := r.Remove(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if err := r.SetBrake(t.Context(), bob, Brake{}); err != nil {
		t.Fatal(err)
	}
	check(map[tenant.ID]Brake{bob: {}})
}
