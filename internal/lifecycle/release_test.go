package lifecycle_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

func (s *store) Releases(ctx context.Context) ([]registry.Release, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.releases)), s.faultLocked(ctx, "releases")
}

func (s *store) SetReleases(ctx context.Context, list []registry.Release) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faultLocked(ctx, "setreleases"); err != nil {
		return err
	}
	for _, l := range list {
		if _, ok := s.rows[l.ID]; ok {
			s.releases[l.ID] = l
		}
	}
	return nil
}

func (s *store) ServiceReleases(ctx context.Context) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.serviceReleases), s.faultLocked(ctx, "servicereleases")
}

func (s *store) SetServiceRelease(ctx context.Context, service, release string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serviceReleases[service] = release
	return s.faultLocked(ctx, "setservicerelease")
}

// released is a service with releases.
var released = notes("args = [\"{release}\"]\nrelease = \"v1\"\nidle_timeout = 60\nstop_grace = 5\n")

func (w *world) refused(id tenant.ID, release string, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refusal = append(w.refusal, id.String()+" "+release)
}

// refusals are the instances whose trial has ended, and with which release, sorted.
func (w *world) refusals() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(slices.Values(w.refusal))
}

// change gives instances a release on trial.
func (w *world) change(release string, step tenant.Step, ids ...tenant.ID) {
	w.t.Helper()
	var list []registry.Release
	for _, id := range ids {
		r, ok := w.releaseOf(id)
		if !ok {
			w.t.Fatalf("%s is not registered", id)
		}
		list = append(list, registry.Release{ID: id, Release: release, Before: r.Release, Step: step})
	}
	if err := w.manager.SetReleases(w.t.Context(), list); err != nil {
		w.t.Fatal(err)
	}
}

// argument is what an instance's units have as its release.
func (w *world) argument(id tenant.ID, want string) {
	w.t.Helper()
	if got := w.systemd.Spec(id).Argv; len(got) != 2 || got[1] != want {
		w.t.Fatalf("%s: got argv %q, want release %s", id, got, want)
	}
}

// onRelease has apps of a release behave as app says, from their next load on.
func (w *world) onRelease(release string, app lifecycletest.App) {
	w.systemd.SetAppOf(func(spec tenant.Spec) (lifecycletest.App, bool) {
		return app, slices.Contains(spec.Argv, release)
	})
}

func TestSleeperTakesUpItsReleaseWithItsNextWake(t *testing.T) {
	bubble(t, released, func(t *testing.T, w *world) {
		w.register(alice)
		w.argument(alice, "v1")
		w.change("v2", tenant.StepChanged, alice)
		w.starts(alice, 1)
		if s := w.state(alice, tenant.Asleep); s.Release != "v2" || s.NextRelease != "" {
			t.Errorf("got release %q, next %q, want v2", s.Release, s.NextRelease)
		}
		w.served(alice, 2) // its doorbell answered all the time, with the old units
		w.argument(alice, "v2")
		if restarted, err := w.manager.Renew(t.Context(), alice, false); restarted || err != nil {
			t.Errorf("renew: got %v, %v, want nothing done", restarted, err)
		}
	})
}

func TestRenewHoldsRequests(t *testing.T) {
	bubble(t, released, func(t *testing.T, w *world) {
		w.systemd.SetApp(tenant.ID{}, lifecycletest.App{Ready: time.Second, Stop: time.Second})
		w.spawn(alice)
		w.change("v2", tenant.StepChanging, alice)
		if s := w.state(alice, tenant.Awake); s.Release != "v1" || s.NextRelease != "v2" {
			t.Errorf("got release %q, next %q, want v1 and then v2", s.Release, s.NextRelease)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if restarted, err := w.manager.Renew(t.Context(), alice, false); !restarted || err != nil {
				t.Errorf("renew: got %v, %v, want a restart", restarted, err)
			}
		})
		for range 5 {
			wg.Go(func() {
				time.Sleep(300 * time.Millisecond) // it is being stopped
				w.served(alice, 2)
			})
		}
		wg.Wait()
		w.argument(alice, "v2")
		if s := w.state(alice, tenant.Awake); s.Release != "v2" || s.NextRelease != "" {
			t.Errorf("got release %q, next %q, want v2", s.Release, s.NextRelease)
		}
	})
}

func TestRenewMeetsAWakeWithTheOldRelease(t *testing.T) {
	bubble(t, released, func(t *testing.T, w *world) {
		w.systemd.SetApp(tenant.ID{}, lifecycletest.App{Ready: time.Second})
		w.register(alice)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := w.request(alice); err != nil { // answered by the one or the other
				t.Error(err)
			}
		})
		time.Sleep(500 * time.Millisecond)
		w.change("v2", tenant.StepChanging, alice)
		if restarted, err := w.manager.Renew(t.Context(), alice, false); !restarted || err != nil {
			t.Errorf("renew: got %v, %v, want a restart", restarted, err)
		}
		wg.Wait()
		w.argument(alice, "v2")
		w.starts(alice, 3)
	})
}

// What does not start with its new release goes on with the old one, and nobody who waits
// for it notices.
func TestBadReleaseFallsBack(t *testing.T) {
	bad := map[string]lifecycletest.App{
		"ends":      {Refusal: &ingress.Refusal{Class: ingress.ClassExited, Text: "exit status 1"}},
		"not ready": {NeverReady: true},
		"no exec":   {UnitFails: true},
	}
	for name, app := range bad {
		t.Run(name, func(t *testing.T) {
			bubble(t, released, func(t *testing.T, w *world) {
				w.onRelease("v3", app)
				w.spawn(alice)
				w.register(bob)
				w.change("v3", tenant.StepChanging, alice)
				w.change("v3", tenant.StepChanged, bob)
				var wg sync.WaitGroup
				wg.Go(func() {
					restarted, err := w.manager.Renew(t.Context(), alice, false)
					if !restarted || err == nil {
						t.Errorf("renew: got %v, %v, want a restart that failed", restarted, err)
					}
				})
				for _, id := range []tenant.ID{alice, alice, bob, bob} {
					wg.Go(func() {
						if _, err := w.request(id); err != nil {
							t.Errorf("request for %s: %v", id, err)
						}
					})
				}
				wg.Wait()
				for _, id := range []tenant.ID{alice, bob} {
					w.argument(id, "v1")
					if s := w.state(id, tenant.Awake); s.Release != "v1" || s.Restarts != 0 {
						t.Errorf("%s: got release %s, %d restarts, want v1 and none", id, s.Release, s.Restarts)
					}
				}
				if got := w.refusals(); !slices.Equal(got, []string{"notes:alice v3", "notes:bob v3"}) {
					t.Errorf("told of %q", got)
				}
			})
		})
	}
}

// One whose program is not there any more is no different.
func TestMissingReleaseFallsBack(t *testing.T) {
	text := strings.Replace(released, "/bin/true", "/bin/{release}", 1)
	bubble(t, strings.Replace(text, "\"v1\"", "\"true\"", 1), func(t *testing.T, w *world) {
		w.register(alice)
		w.change("no-such-program", tenant.StepChanged, alice)
		if _, err := w.request(alice); err != nil {
			t.Fatal(err)
		}
		w.argument(alice, "true")
		if got := w.refusals(); !slices.Equal(got, []string{"notes:alice no-such-program"}) {
			t.Errorf("told of %q", got)
		}
	})
}

func TestWhoIsNotOnTrialDoesNotFallBack(t *testing.T) {
	bubble(t, released, func(t *testing.T, w *world) {
		w.onRelease("v3", lifecycletest.App{Refusal: &ingress.Refusal{Class: ingress.ClassExited, Text: "exit status 1"}})
		w.register(alice)
		w.change("v3", tenant.StepNone, alice)
		_, err := w.request(alice)
		code(t, err, tenant.CodeStartFailed)
		w.starts(alice, 2)
		if got := w.refusals(); len(got) != 0 {
			t.Errorf("told of %q, want nothing", got)
		}
	})
}

func TestFailedInstanceTriesTheNewRelease(t *testing.T) {
	bubble(t, released, func(t *testing.T, w *world) {
		w.onRelease("v1", lifecycletest.App{UnitFails: true})
		_, _, err := w.manager.Spawn(t.Context(), alice)
		code(t, err, tenant.CodeStartFailed)
		for range 3 {
			time.Sleep(time.Minute)
			_, err = w.request(alice)
			code(t, err, tenant.CodeStartFailed)
		}
		w.state(alice, tenant.Failed)
		w.change("v2", tenant.StepChanged, alice)
		w.state(alice, tenant.Asleep)
		if _, err := w.request(alice); err != nil {
			t.Fatal(err)
		}
		w.argument(alice, "v2")
		// Another one that does not work either is none of the release's fault.
		w.onRelease("v3", lifecycletest.App{UnitFails: true})
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.change("v3", tenant.StepChanged, alice)
		if _, err := w.request(alice); err != nil {
			t.Errorf("one that was well: %v", err)
		}
	})
}

func TestReleasesOutliveTheDaemon(t *testing.T) {
	bubble(t, released, func(t *testing.T, w *world) {
		w.spawn(alice, bob)
		w.change("v2", tenant.StepChanging, alice, bob)
		if _, err := w.manager.Renew(t.Context(), alice, false); err != nil {
			t.Fatal(err)
		}
		w.change("v2", tenant.StepChanged, alice)
		if err := w.manager.SetServiceRelease(t.Context(), "notes", "v2"); err != nil {
			t.Fatal(err)
		}
		w.restart(parse(t, released))
		w.state(bob, tenant.Awake)
		if r, _ := w.releaseOf(alice); r.Release != "v2" || r.Running != "v2" || r.Step != tenant.StepChanged {
			t.Errorf("alice: got %+v", r)
		}
		// Of bob nobody knows whether he was restarted before the daemon ended.
		if r, _ := w.releaseOf(bob); r.Release != "v2" || r.Running != "" || r.Before != "v1" || r.Step != tenant.StepChanging {
			t.Errorf("bob: got %+v", r)
		}
		for id, want := range map[tenant.ID]bool{alice: false, bob: true} {
			if restarted, err := w.manager.Renew(t.Context(), id, false); restarted != want || err != nil {
				t.Errorf("renew %s: got %v, %v, want %v", id, restarted, err, want)
			}
		}
		carol := tenant.ID{Service: "notes", Name: "carol"}
		w.spawn(carol)
		w.argument(carol, "v2")
	})
}

func TestReleaseIsNotSetWhereItCannotBeKept(t *testing.T) {
	bubble(t, released, func(t *testing.T, w *world) {
		w.register(alice)
		w.store.fail("setreleases", errors.New("disk full"))
		if err := w.manager.SetReleases(t.Context(), []registry.Release{{ID: alice, Release: "v2", Before: "v1"}}); err == nil {
			t.Error("got no error")
		}
		if r, _ := w.releaseOf(alice); r.Release != "v1" {
			t.Errorf("got %+v, want v1", r)
		}
		synctest.Wait()
	})
}
