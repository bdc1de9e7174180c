package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func TestReleasesAreShown(t *testing.T) {
	list := []wire.Instance{
		{ID: tenant.ID{Service: "notes", Name: "alice"}, State: tenant.Awake, Unit: "a", Release: "v1", NextRelease: "v2"},
		{ID: tenant.ID{Service: "notes", Name: "bob"}, State: tenant.Asleep, Unit: "b", Release: "v2"},
		{ID: tenant.ID{Service: "web", Name: "x"}, State: tenant.Asleep, Unit: "c"},
	}
	var out strings.Builder
	if err := (screen{}).table(&out, instanceRows(list, time.Now())); err != nil {
		t.Fatal(err)
	}
	want := `INSTANCE     STATE   SINCE  LAST-ACTIVE  BUSY  WAKES  PORT  UNIT  RELEASE
notes:alice  awake   -      never        0     0      -     a     v1 > v2
notes:bob    asleep  -      never        0     0      -     b     v2
web:x        asleep  -      never        0     0      -     c
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for i, want := range []string{"  it runs with release v1, and its next start gets v2", "  its release is v2", ""} {
		lines := explainWhy(wire.Why{Instance: list[i]}, time.Now())
		if got := slices.Contains(lines, want); got != (want != "") {
			t.Errorf("%s: got %q, want %q among them", list[i].ID, lines, want)
		}
	}
}
