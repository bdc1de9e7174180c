package api_test

import (
	"net/http"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
)

// TestTenantsSeeTheirOwnUse asks with an admin's token and with a tenant's.
func TestTenantsSeeTheirOwnUse(t *testing.T) {
	d := start(t)
	_, admin := give(t, d, tenant.Token{})
	_, own := give(t, d, tenant.Token{Tenant: "alice"})
	for _, c := range []struct {
		secret, query string
		status        int
		want, not     string
	}{
		{admin, "", http.StatusOK, `"id":"notes:bob"`, "2026-11"},
		{own, "", http.StatusOK, `"id":"web:alice"`, "bob"},
		{own, "&service=notes", http.StatusOK, `"id":"notes:alice"`, "web"},
		{own, "&instance=notes:alice", http.StatusOK, `"requests":12,`, "web"},
		{own, "&instance=notes:bob", http.StatusForbidden, "not an instance of alice", "requests"},
		{admin, "&instance=notes:bob&service=web", http.StatusBadRequest, "another service", "requests"},
		{"", "", http.StatusUnauthorized, "", "requests"},
	} {
		status, _, answer := over(t, d, c.secret, http.MethodGet, "/api/v1/usage?month=2026-10"+c.query, "")
		if status != c.status || !strings.Contains(answer, c.want) || strings.Contains(answer, c.not) {
			t.Errorf("%q: got %d %s\nwant %d with %q and without %q", c.query, status, answer, c.status, c.want, c.not)
		}
	}
}
