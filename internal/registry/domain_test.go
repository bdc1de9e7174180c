package registry

import (
	"slices"
	"testing"

	"tenement.dev/internal/tenant"
)

func TestDomains(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	alice, bob := id("notes", "alice"), id("notes", "bob")
	one := tenant.Domain{Host: "notes.alice.example", ID: alice, Created: created}
	two := tenant.Domain{Host: "bob.example", ID: bob, Created: later}
	want := func(want ...tenant.Domain) {
		t.Helper()
		if got, err := r.Domains(t.Context()); err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	want()
	for _, d := range []tenant.Domain{one, two} {
		if err := r.AddDomain(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.AddDomain(t.Context(), tenant.Domain{Host: one.Host, ID: bob}); tenant.CodeOf(err) != tenant.CodeConflict {
		t.Errorf("a taken host name: got %v, want a conflict", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = mustOpen(t, path)
	want(two, one)
	// With its instance a host name goes too.
	if err := r.Remove(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	want(two)
	for range 2 {
		if err := r.RemoveDomain(t.Context(), two.Host); err != nil {
			t.Fatal(err)
		}
	}
	want()
}
