package registry

import (
	"crypto/sha256"
	"reflect"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

func TestTokens(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	want := func(want ...tenant.Token) {
		t.Helper()
		got, err := r.Tokens(t.Context())
		if err != nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	want()
	admin := tenant.Token{ID: "b", Hash: sha256.Sum256([]byte("1")), Created: created}
	alices := tenant.Token{
		ID: "a", Hash: sha256.Sum256([]byte("2")), Tenant: "alice", Description: "Alice's, \"own\"",
		Allow: []tenant.Permission{tenant.MayRestart, tenant.MayWake}, Created: later, Expires: later.Add(time.Hour), Used: later,
	}
	for _, token := range []tenant.Token{alices, admin} {
		if err := r.AddToken(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	for name, token := range map[string]tenant.Token{
		"the same id":     {ID: "a", Hash: sha256.Sum256([]byte("3"))},
		"the same secret": {ID: "c", Hash: admin.Hash},
	} {
		if err := r.AddToken(t.Context(), token); err == nil {
			t.Errorf("%s twice: no error", name)
		}
	}
	want(admin, alices)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = mustOpen(t, path)
	used := later.Add(time.Minute)
	for _, at := range []time.Time{used, created} { // it never goes back
		if err := r.SaveTokenUse(t.Context(), map[string]time.Time{"b": at, "gone": at}); err != nil {
			t.Fatal(err)
		}
	}
	admin.Used = used
	want(admin, alices)
	for range 2 {
		if err := r.RemoveToken(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	want(admin)
}
