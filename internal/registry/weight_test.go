package registry

import (
	"maps"
	"testing"

	"tenement.dev/internal/tenant"
)

func TestWeights(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	set := func(weights map[tenant.ID]tenant.Weight) error { return r.SetWeights(t.Context(), weights) }
	want := func(want map[tenant.ID]tenant.Weight) {
		t.Helper()
		if got, err := r.Weights(t.Context()); err != nil || !maps.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	v1, v2 := id("notes", "v1"), id("notes", "v2")
	of := func(n int) tenant.Weight { return tenant.Weight{N: n, Set: true} }
	mustAdd(t, r, Instance{ID: v1})
	want(map[tenant.ID]tenant.Weight{})

	if err := set(map[tenant.ID]tenant.Weight{v1: of(0), v2: of(tenant.MaxWeight)}); err != nil {
		t.Fatal(err)
	}
	both := map[tenant.ID]tenant.Weight{v1: of(0), v2: of(tenant.MaxWeight)}
	want(both)
	if err := set(map[tenant.ID]tenant.Weight{v1: of(1), v2: of(tenant.MaxWeight + 1)}); err == nil {
		t.Error("a weight that is too high was taken")
	}
	want(both) // all or none

	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = mustOpen(t, path)
	want(both)
	if err := r.Remove(t.Context(), v1); err != nil {
		t.Fatal(err)
	}
	want(map[tenant.ID]tenant.Weight{v2: of(tenant.MaxWeight)})
	if err := set(map[tenant.ID]tenant.Weight{v2: {}}); err != nil {
		t.Fatal(err)
	}
	want(map[tenant.ID]tenant.Weight{})
}
