package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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

func TestCheckRoom(t *testing.T) {
	disks := map[string]room{
		"/roomy":   {free: 6 << 30, all: 100 << 30, files: 900, most: 1000},
		"/large":   {free: 2 << 30, all: 1 << 40},
		"/full":    {free: 12 << 10, all: 4 << 20, files: 900, most: 1000},
		"/many":    {free: 90 << 30, all: 100 << 30, files: 3, most: 1000},
		"/nothing": {},
	}
	look := func(dir string) (room, unix.Fsid, error) {
		r, ok := disks[dir]
		if !ok {
			return r, unix.Fsid{}, unix.EACCES
		}
		return r, unix.Fsid{Val: [2]int32{int32(len(dir)), int32(dir[1])}}, nil
	}
	if c, ok := checkRoom(look, "room", "hint", "/roomy", "/large", "/nothing", "/unknown"); ok {
		t.Errorf("of disks with room: got %+v, want nothing", c)
	}
	c, ok := checkRoom(look, "room", "hint", "/full", "/full", "/many", "/roomy")
	if want := "/full: 12K of 4M is free, /many: 3 of 1000 files can be made"; !ok || c.OK || c.Name != "room" || c.Detail != want || c.Hint != "hint" {
		t.Errorf("got %+v, %t, want %q, with the name and the hint", c, ok, want)
	}
	if r, _, err := roomAt(filepath.Join(t.TempDir(), "not", "there")); err != nil || r.all == 0 {
		t.Errorf("of a directory that is not there: got %+v, %v, want those of its file system", r, err)
	}
}

func TestCheckOrphans(t *testing.T) {
	cfg := &config.Config{Services: map[string]*config.Service{"notes": {}}}
	id := func(service, name string) tenant.ID { return tenant.ID{Service: service, Name: name} }
	list := []tenant.Snapshot{{ID: id("notes", "alice")}, {ID: id("notes", "bob")}}
	loaded := []units.Status{{ID: id("notes", "alice")}}
	if got := checkOrphans(cfg, list, loaded); len(got) > 0 {
		t.Errorf("of instances as they should be: got %+v, want nothing", got)
	}
	got := checkOrphans(cfg, append(list, tenant.Snapshot{ID: id("memo", "carol")}), append(loaded, units.Status{ID: id("notes", "dave")}))
	if len(got) != 2 || got[0].OK || got[1].OK || !strings.Contains(got[0].Detail, "no service for memo:carol:") || !strings.Contains(got[1].Detail, "not know notes:dave,") {
		t.Errorf("got %+v, want memo:carol, which has no service, and notes:dave, who is not registered", got)
	}
}
