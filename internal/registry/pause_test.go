package registry

import (
	"maps"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

func TestPauses(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	v1, service := id("notes", "v1"), tenant.ID{Service: "notes"}
	mustAdd(t, r, Instance{ID: v1})
	at := time.UnixMicro(1700000000000000).UTC()
	want := map[tenant.ID]tenant.Pause{
		v1:      {Message: "héllo <b>", Since: at, Until: at.Add(time.Hour)},
		service: {Since: at, Service: true},
	}
	for id, p := range want {
		for _, p := range []tenant.Pause{{Since: at, Message: "earlier"}, p} {
			if err := r.SetPause(t.Context(), id, p); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = mustOpen(t, path)
	if got, err := r.Pauses(t.Context()); err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if err := r.Remove(t.Context(), v1); err != nil { // an instance of that name that comes later is not paused
		t.Fatal(err)
	}
	if err := r.SetPause(t.Context(), v1, want[v1]); tenant.CodeOf(err) != tenant.CodeNotFound {
		t.Errorf("pause of one that is gone: got %v, want %s", err, tenant.CodeNotFound)
	}
	delete(want, v1)
	if got, err := r.Pauses(t.Context()); err != nil || !maps.Equal(got, want) {
		t.Errorf("after the instance is gone: got %v, %v, want %v", got, err, want)
	}
	if err := r.RemovePause(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Pauses(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v, want none", got, err)
	}
}
