package main

import (
	"slices"
	"testing"

	"tenement.dev/internal/keeper"
	"tenement.dev/units"
)

// What a daemon tells and what is found without one are the same checks.
func TestAllChecks(t *testing.T) {
	h := units.Host{DataRoot: "/srv/data", ProjectQuota: true}
	list, err := allChecks(t.Context(), h, []keeper.Check{{Name: "systemd"}}, keeper.NewSandbox(nil, h))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range list {
		got = append(got, c.Name)
	}
	want := []string{"systemd", "memory pressure", "storage_quota_mb", `isolation = "sandbox"`, "logs"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
