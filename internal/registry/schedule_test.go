package registry

import (
	"slices"
	"testing"
	"time"
)

func TestSchedules(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	for _, in := range []Instance{{ID: id("notes", "alice")}, {ID: id("notes", "bob")}, {ID: id("blog", "zoe")}} {
		mustAdd(t, r, in)
	}
	set := func(list []Schedule, want ...Schedule) {
		t.Helper()
		got, err := r.SetSchedules(t.Context(), list)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	runs := func(want ...Run) {
		t.Helper()
		got, err := r.Runs(t.Context())
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got runs %v, %v, want %v", got, err, want)
		}
	}
	hourly, daily := Schedule{"notes", "hourly", created}, Schedule{"notes", "daily", created}
	set([]Schedule{hourly, daily}, daily, hourly)
	runs()
	hourly.Seen = later
	for range 2 { // a run that has not been done is not due twice
		if err := r.Due(t.Context(), hourly); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Due(t.Context(), daily); err != nil {
		t.Fatal(err)
	}
	alice, bob := id("notes", "alice"), id("notes", "bob")
	runs(Run{alice, "daily"}, Run{alice, "hourly"}, Run{bob, "daily"}, Run{bob, "hourly"})
	for range 2 {
		if err := r.Ran(t.Context(), Run{alice, "hourly"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = mustOpen(t, path)
	runs(Run{alice, "daily"}, Run{bob, "daily"}, Run{bob, "hourly"})
	// What is known keeps its moment; what is not configured any more is forgotten, and
	// so are a destroyed instance's runs.
	weekly := Schedule{"blog", "weekly", later.Add(time.Hour)}
	set([]Schedule{{"notes", "hourly", later.Add(time.Hour)}, weekly}, weekly, hourly)
	runs(Run{bob, "hourly"})
	if err := r.Remove(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	runs()
	set(nil)
}

func TestLeases(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	in := Instance{ID: id("notes", "alice"), Created: created, LastActive: later, Wakes: 3}
	mustAdd(t, r, in)
	save := func() {
		t.Helper()
		if err := r.SaveActivity(t.Context(), []Instance{in}); err != nil {
			t.Fatal(err)
		}
		if got := mustList(t, r); !slices.Equal(got, []Instance{in}) {
			t.Errorf("got %v, want %v", got, in)
		}
	}
	in.AppLease, in.OperatorLease = later, later.Add(time.Hour)
	save()
	in.AppLease = created // sooner
	save()
	in.AppLease, in.OperatorLease = time.Time{}, time.Time{}
	save()
}
