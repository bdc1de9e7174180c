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

func TestClaims(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	alice, bob := id("notes", "alice"), id("notes", "bob")
	const host = "notes.alice.example"
	hers := tenant.Domain{Host: host, ID: alice, Created: created, Token: "A"}
	his := tenant.Domain{Host: host, ID: bob, Created: later, Token: "B"}
	claims := func(want ...tenant.Domain) {
		t.Helper()
		if got, err := r.Claims(t.Context()); err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	add := func(list ...tenant.Domain) {
		t.Helper()
		for _, d := range list {
			if _, err := r.Add(t.Context(), Instance{ID: d.ID}); err != nil {
				t.Fatal(err)
			}
			if err := r.AddClaim(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
	}
	code := func(err error, want tenant.Code) {
		t.Helper()
		if got := tenant.CodeOf(err); got != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	add(his, hers)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = mustOpen(t, path)
	claims(hers, his)
	if err := r.Remove(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	claims(hers)
	code(r.VerifyDomain(t.Context(), his), tenant.CodeNotFound)

	// The first one that is verified has it, and the others wait no more.
	add(his)
	verified := tenant.Domain{Host: host, ID: bob, Created: later, Verified: later}
	if err := r.VerifyDomain(t.Context(), verified); err != nil {
		t.Fatal(err)
	}
	claims()
	if got, err := r.Domains(t.Context()); err != nil || !slices.Equal(got, []tenant.Domain{verified}) {
		t.Errorf("got %v, %v, want %v", got, err, verified)
	}
	code(r.VerifyDomain(t.Context(), hers), tenant.CodeNotFound)
	code(r.AddClaim(t.Context(), hers), tenant.CodeConflict)

	// Who gives or takes it away ends all waiting.
	for _, end := range []func() error{
		func() error { return r.AddDomain(t.Context(), tenant.Domain{Host: host, ID: alice, Created: later}) },
		func() error { return nil },
	} {
		if err := r.RemoveDomain(t.Context(), host); err != nil {
			t.Fatal(err)
		}
		add(his, hers)
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.RemoveDomain(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	claims()
}
