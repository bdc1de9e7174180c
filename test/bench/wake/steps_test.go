package main

import (
	"reflect"
	"slices"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// A variant that leaves out what no instance has would say that it costs nothing.
func TestVariantsDiffer(t *testing.T) {
	host := units.Host{
		RuntimeDir: "/run/tenement", DataRoot: "/srv/data", RealDataRoot: "/srv/data", InitPath: "/usr/lib/tenement/ten-init",
		PrivatePIDs: true, DelegateSubgroup: true, PrivateNetwork: true, Namespaces: true, BindFence: true, ConnectFence: true,
	}
	spec := tenant.Spec{
		ID: tenant.ID{Service: "bench", Name: "a"}, Argv: []string{"/bin/true"}, WorkDir: "/", DataRoot: host.DataRoot, DataDir: "/srv/data/bench/a",
		Isolation: tenant.IsolationNamespace, Network: tenant.NetworkHost, Listen: tenant.ListenPort, Port: barePort,
	}
	_, service, err := host.Render(spec, stepUser)
	if err != nil {
		t.Fatal(err)
	}
	all := service.Properties
	for _, v := range variants[1:] {
		if got := v.change(slices.Clone(all)); reflect.DeepEqual(got, all) {
			t.Errorf("%q is what an instance has", v.name)
		}
	}
	if got := variants[0].change(slices.Clone(all)); !reflect.DeepEqual(got, all) || !reflect.DeepEqual(all, service.Properties) {
		t.Errorf("%q is not what an instance has", variants[0].name)
	}
	for _, p := range inaccessible(slices.Clone(all)) {
		if p.Name == "BindPaths" && len(p.Value.([]units.BindPath)) != 1 {
			t.Errorf("got %v still bound, want the data alone", p.Value)
		}
	}
	for _, name := range slices.Concat(mounts, filters) {
		known := slices.ContainsFunc(all, func(p units.Property) bool { return p.Name == name })
		if !known && name != "BindReadOnlyPaths" && name != "ProtectProc" { // of other machines
			t.Errorf("no instance has %s", name)
		}
	}
}
