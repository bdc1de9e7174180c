package registry

import (
	"maps"
	"slices"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

func TestSecrets(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	v1, service := id("notes", "v1"), tenant.ID{Service: "notes"}
	mustAdd(t, r, Instance{ID: v1})
	at := time.UnixMicro(1700000000000000).UTC()
	want := map[tenant.ID][]tenant.Secret{
		v1:      {{Name: "A", Changed: at}, {Name: "B", Env: true, Changed: at.Add(time.Hour)}},
		service: {{Name: "A", Env: true, Changed: at, Service: true}},
	}
	for id, list := range want {
		for _, s := range slices.Backward(list) {
			for _, s := range []tenant.Secret{{Name: s.Name, Changed: time.UnixMicro(1)}, s} {
				if err := r.SetSecret(t.Context(), id, s); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = mustOpen(t, path)
	equal := func(want map[tenant.ID][]tenant.Secret) {
		t.Helper()
		got, err := r.Secrets(t.Context())
		if err != nil || !maps.EqualFunc(got, want, func(a, b []tenant.Secret) bool { return slices.Equal(a, b) }) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	equal(want)
	if err := r.RemoveSecret(t.Context(), v1, "A"); err != nil {
		t.Fatal(err)
	}
	want[v1] = want[v1][1:]
	equal(want)
	if err := r.Remove(t.Context(), v1); err != nil { // one of that name that comes later has none
		t.Fatal(err)
	}
	if err := r.SetSecret(t.Context(), v1, tenant.Secret{Name: "A", Changed: at}); tenant.CodeOf(err) != tenant.CodeNotFound {
		t.Errorf("secret of one that is gone: got %v, want %s", err, tenant.CodeNotFound)
	}
	delete(want, v1)
	equal(want)
}
