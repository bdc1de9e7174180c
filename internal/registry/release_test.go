package registry

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

func TestReleases(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	alice, bob, nobody := id("notes", "alice"), id("notes", "bob"), id("notes", "nobody")
	mustAdd(t, r, Instance{ID: alice})
	mustAdd(t, r, Instance{ID: bob})
	of := func(id tenant.ID, release string, step tenant.Step) Release {
		return Release{ID: id, Release: release, Before: "v1", Step: step}
	}
	rollout := Rollout{
		Service: "notes", Release: "v2", Previous: "v1", State: tenant.RolloutPaused, Reason: "somebody said so",
		Plan:  tenant.RolloutPlan{Canary: []string{"alice"}, Batch: 3, Pause: time.Minute},
		Begun: time.UnixMicro(1_700_000_000_000_001).UTC(),
	}
	first := rollout
	first.State = tenant.RolloutRunning
	for _, err := range []error{
		r.SetReleases(t.Context(), []Release{of(alice, "v2", tenant.StepChanging), of(bob, "v2", tenant.StepChanging), of(nobody, "v2", 0)}),
		r.SetReleases(t.Context(), []Release{of(bob, "v2", tenant.StepChanged)}),
		r.SetServiceRelease(t.Context(), "notes", "v1"),
		r.SetServiceRelease(t.Context(), "notes", "v2"),
		r.SaveRollout(t.Context(), first),
		r.SaveRollout(t.Context(), rollout),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	// All or nothing.
	if err := r.SetReleases(t.Context(), []Release{of(alice, "v3", 0), of(bob, "../v3", 0)}); tenant.CodeOf(err) != tenant.CodeInvalid {
		t.Errorf("a path: got %v, want it refused", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = mustOpen(t, path)
	list, err := r.Releases(t.Context())
	slices.SortFunc(list, func(a, b Release) int { return strings.Compare(a.ID.Name, b.ID.Name) })
	if want := []Release{of(alice, "v2", tenant.StepChanging), of(bob, "v2", tenant.StepChanged)}; err != nil || !slices.Equal(list, want) {
		t.Errorf("got %+v, %v, want %+v", list, err, want)
	}
	if got, err := r.ServiceReleases(t.Context()); err != nil || len(got) != 1 || got["notes"] != "v2" {
		t.Errorf("releases of services: got %v, %v", got, err)
	}
	if got, err := r.Rollouts(t.Context()); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], rollout) {
		t.Errorf("rollouts: got %+v, %v, want %+v", got, err, rollout)
	}
	// One that is gone has none.
	if err := r.Remove(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, r, Instance{ID: alice})
	if list, err := r.Releases(t.Context()); err != nil || len(list) != 1 || list[0].ID != bob {
		t.Errorf("got %+v, %v, want bob's only", list, err)
	}
}
