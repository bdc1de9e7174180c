package main

import (
	"slices"
	"strings"
	"testing"

	"tenement.dev/internal/config"
	"tenement.dev/internal/keeper"
	"tenement.dev/internal/tenant"
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

// Doctor tells of services whose host name any of several instances answers at.
func TestCheckServiceHosts(t *testing.T) {
	services := map[string]*config.Service{"off": {}, "one": {ServiceHost: true}, "weighed": {ServiceHost: true}}
	var list []tenant.Snapshot
	for _, name := range []string{"off:a", "off:b", "one:a", "weighed:a", "weighed:b", "open:a", "open:b", "gone:a", "gone:b"} {
		id, err := tenant.ParseID(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, tenant.Snapshot{ID: id, Weight: tenant.Weight{Set: name == "weighed:b"}})
	}
	if c, ok := checkServiceHosts(&config.Config{Services: services}, "example.com", list); ok {
		t.Errorf("got %+v, want nothing to tell", c)
	}
	services["open"] = &config.Service{ServiceHost: true}
	c, ok := checkServiceHosts(&config.Config{Services: services}, "example.com", list)
	if !ok || c.OK || !strings.HasPrefix(c.Detail, "open.example.com: any instance answers") || !strings.Contains(c.Hint, "service_host = false") {
		t.Errorf("got %+v, %v, want open.example.com alone", c, ok)
	}
}
