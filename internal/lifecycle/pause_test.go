package lifecycle_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

// paused checks that a request is refused for a pause.
func (w *world) paused(id tenant.ID, message string, retry time.Duration) {
	w.t.Helper()
	_, err := w.request(id)
	code(w.t, err, tenant.CodePaused)
	var e *tenant.Error
	if !errors.As(err, &e) || e.Public != message || e.RetryAfter.Round(time.Second) != retry {
		w.t.Fatalf("got %+v, want message %q and %v", e, message, retry)
	}
}

func TestPause(t *testing.T) {
	bubble(t, notes("idle_timeout = 60\n"), func(t *testing.T, w *world) {
		w.register(alice, bob)
		begun := w.systemd.Starts(alice)
		if p, err := w.manager.Pause(t.Context(), alice, "back soon", time.Hour); err != nil || !p.Until.Equal(time.Now().Add(time.Hour)) {
			t.Fatalf("got %+v, %v", p, err)
		}
		w.paused(alice, "back soon", time.Hour)
		w.served(bob, w.systemd.Starts(bob)+1)
		w.state(alice, tenant.Asleep)
		w.starts(alice, begun)
		if s, _ := w.manager.Get(alice); s.Paused == nil || s.Paused.Message != "back soon" || s.Paused.Service {
			t.Errorf("got %+v", s.Paused)
		}
		if why, _ := w.manager.Why(alice); why.Paused == nil {
			t.Error("Why says nothing of it")
		}

		// A new daemon knows it, and the rest of the time.
		time.Sleep(20 * time.Minute)
		w.restart(parse(t, notes("idle_timeout = 60\n")))
		w.paused(alice, "back soon", 40*time.Minute)

		// An operator may start it, for no visitor's sake.
		if _, err := w.manager.Wake(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.paused(alice, "back soon", 40*time.Minute)
		time.Sleep(2 * time.Minute)
		w.state(alice, tenant.Asleep) // it rests as always

		// It ends by itself.
		time.Sleep(37 * time.Minute)
		w.paused(alice, "back soon", time.Minute)
		time.Sleep(time.Minute)
		w.served(alice, begun+2)
		if s, _ := w.manager.Get(alice); s.Paused != nil {
			t.Errorf("got %+v, want no pause any more", s.Paused)
		}
		if was, err := w.manager.Unpause(t.Context(), alice); was || err != nil {
			t.Errorf("got %t, %v, want nothing to end", was, err)
		}
	})
}

func TestPauseService(t *testing.T) {
	bubble(t, notes("on_demand = true\nmax_instances = 3\n"), func(t *testing.T, w *world) {
		w.register(alice, bob)
		service := tenant.ID{Service: "notes"}
		zed := tenant.ID{Service: "notes", Name: "zed"}
		if _, err := w.manager.Pause(t.Context(), service, "", 0); err != nil {
			t.Fatal(err)
		}
		for _, id := range []tenant.ID{alice, bob, zed} {
			w.paused(id, "", 5*time.Minute)
		}
		if _, err := w.manager.Get(zed); tenant.CodeOf(err) != tenant.CodeNotFound {
			t.Errorf("got %v, want nobody created", err)
		}
		_, _, err := w.manager.Route("notes", "", nil)
		code(t, err, tenant.CodePaused)
		_, err = w.manager.Unpause(t.Context(), alice)
		code(t, err, tenant.CodeConflict)
		if was, err := w.manager.Unpause(t.Context(), service); !was || err != nil {
			t.Errorf("got %t, %v", was, err)
		}
		w.served(zed, 1)
		if len(w.store.pauses) != 0 {
			t.Errorf("the registry still has %v", w.store.pauses)
		}
	})
}

// Requests for the service's own host name go to those that are not paused.
func TestPauseAndRoute(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(alice, bob)
		if _, err := w.manager.Pause(t.Context(), alice, "", 0); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if id, _, err := w.manager.Route("notes", "", nil); err != nil || id != bob {
				t.Fatalf("got %v, %v, want bob", id, err)
			}
		}
		if _, err := w.manager.Pause(t.Context(), bob, "x", 0); err != nil {
			t.Fatal(err)
		}
		_, _, err := w.manager.Route("notes", "", nil)
		code(t, err, tenant.CodePaused)
	})
}

func TestPauseLetsRequestsEnd(t *testing.T) {
	bubble(t, notes("idle_timeout = 60\n"), func(t *testing.T, w *world) {
		w.register(alice)
		e, release := w.acquire(alice)
		if _, err := w.manager.Pause(t.Context(), alice, "", 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		w.state(alice, tenant.Awake)
		if _, err := exchange(t.Context(), e); err != nil {
			t.Errorf("the request in flight: %v", err)
		}
		w.paused(alice, "", 5*time.Minute)
		release()
		time.Sleep(2 * time.Minute)
		w.state(alice, tenant.Asleep)
	})
}

// What is paused does not start by itself: no schedule, no configuration, no restart.
func TestPauseStartsNothing(t *testing.T) {
	const text = "schedule = [\"1h\"]\n[instances]\nnotes = [\"alice\"]\n"
	bubble(t, notes(text), func(t *testing.T, w *world) {
		time.Sleep(time.Second)
		w.state(alice, tenant.Awake)
		if _, err := w.manager.Pause(t.Context(), alice, "", 0); err != nil {
			t.Fatal(err)
		}
		w.systemd.Crash(alice)
		time.Sleep(3 * time.Hour)
		w.state(alice, tenant.Asleep)
		w.starts(alice, 1)
		w.restart(parse(t, notes(text)))
		time.Sleep(3 * time.Hour)
		w.starts(alice, 1)
		if _, err := w.manager.Unpause(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		w.state(alice, tenant.Awake)
	})
}

func TestPauseRefuses(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice)
		for _, test := range []struct {
			id      tenant.ID
			message string
			d       time.Duration
			want    tenant.Code
		}{
			{bob, "", 0, tenant.CodeNotFound},
			{tenant.ID{Service: "nothing"}, "", 0, tenant.CodeNotFound},
			{alice, "two\nlines", 0, tenant.CodeInvalid},
			{alice, "\x1b[31m", 0, tenant.CodeInvalid},
			{alice, "\xff", 0, tenant.CodeInvalid},
			{alice, strings.Repeat("x", tenant.MaxPauseMessage+1), 0, tenant.CodeInvalid},
			{alice, "", -time.Second, tenant.CodeInvalid},
			{alice, "", 1000 * 24 * time.Hour, tenant.CodeInvalid},
		} {
			_, err := w.manager.Pause(t.Context(), test.id, test.message, test.d)
			code(t, err, test.want)
		}
		w.store.fail("setpause", errors.New("disk full"))
		if _, err := w.manager.Pause(t.Context(), alice, "", 0); err == nil {
			t.Error("got no error although it was not stored")
		}
		w.served(alice, 2) // nothing of it holds
		if _, err := w.manager.Pause(t.Context(), alice, "", 0); err != nil {
			t.Fatal(err)
		}
		if err := w.manager.Destroy(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.spawn(alice)
		w.served(alice, 3) // one of that name is not paused for the other's sake
	})
}

// The pause of an instance ends with it, also one that comes while it is destroyed: one
// that takes its name is not paused.
func TestPauseWhileDestroyed(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice)
		if _, err := w.manager.Pause(t.Context(), alice, "", 0); err != nil {
			t.Fatal(err)
		}
		var err error
		w.store.removed = func() { _, err = w.manager.Pause(t.Context(), alice, "too late", 0) }
		if err := w.manager.Destroy(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.store.removed = nil
		code(t, err, tenant.CodeNotFound)
		w.register(alice)
		w.restart(parse(t, notes("")))
		w.served(alice, w.systemd.Starts(alice)+1)
	})
}
