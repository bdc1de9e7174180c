package registry

import (
	"maps"
	"testing"

	"tenement.dev/internal/tenant"
)

func TestLimits(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	alice, bob, carol := id("notes", "alice"), id("notes", "bob"), id("notes", "carol")
	for _, i := range []tenant.ID{alice, bob, carol} {
		mustAdd(t, r, Instance{ID: i})
	}
	want := tenant.Limits{tenant.LimitMemory: 64 << 20, tenant.LimitTasks: 0}
	for _, err := range []error{
		r.SetLimits(t.Context(), alice, tenant.Limits{tenant.LimitNoFile: 100}),
		r.SetLimits(t.Context(), alice, want),
		r.SetLimits(t.Context(), bob, want),
		r.SetLimits(t.Context(), bob, nil),
		r.SetStorage(t.Context(), carol, 1<<40),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(r *Registry) {
		t.Helper()
		list, err := r.Limits(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := map[tenant.ID]Limited{}
		for _, l := range list {
			got[l.ID] = l
		}
		if len(got) != 2 || !maps.Equal(got[alice].Limits, want) || got[carol].Storage != 1<<40 {
			t.Errorf("got %+v, want alice's limits and carol's storage", got)
		}
	}
	check(r)
	// Activity is saved beside them.
	if err := r.SaveActivity(t.Context(), []Instance{{ID: alice, Wakes: 3}}); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = mustOpen(t, path)
	check(r)

	// A new instance of the same name has none of the old one's.
	if err := r.Remove(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, r, Instance{ID: alice})
	if list, err := r.Limits(t.Context()); err != nil || len(list) != 1 || list[0].ID != carol {
		t.Errorf("got %+v, %v, want carol's only", list, err)
	}
}

func TestLimitsThatCannotBe(t *testing.T) {
	r := mustOpen(t, newPath(t))
	alice := id("notes", "alice")
	if err := r.SetLimits(t.Context(), alice, nil); tenant.CodeOf(err) != tenant.CodeNotFound {
		t.Errorf("of an unknown instance: got %v", err)
	}
	if err := r.SetStorage(t.Context(), alice, 1); tenant.CodeOf(err) != tenant.CodeNotFound {
		t.Errorf("of an unknown instance: got %v", err)
	}
	mustAdd(t, r, Instance{ID: alice})
	for _, limits := range []tenant.Limits{{"what": 1}, {tenant.LimitTasks: 1}, {tenant.LimitMemory: -1}} {
		if err := r.SetLimits(t.Context(), alice, limits); tenant.CodeOf(err) != tenant.CodeInvalid {
			t.Errorf("%v: got %v, want %s", limits, err, tenant.CodeInvalid)
		}
	}
	// Somebody else has written into the file.
	if _, err := r.db.ExecContext(t.Context(), sqlSetLimits, alice.Service, alice.Name, `{"memory":7}`); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Limits(t.Context()); err == nil {
		t.Error("limits that cannot be were read")
	}
}
