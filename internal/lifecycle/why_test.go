package lifecycle_test

import (
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
)

func (w *world) why(id tenant.ID, want tenant.State) tenant.Why {
	w.t.Helper()
	w.state(id, want)
	why, err := w.manager.Why(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return why
}

func at(t *testing.T, what string, got, want time.Time) {
	t.Helper()
	if !got.Equal(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestWhyAwake(t *testing.T) {
	bubble(t, notes("doze_timeout = 100\nidle_timeout = 600\nschedule = [\"1h\"]"), func(t *testing.T, w *world) {
		w.register(alice)
		asked := time.Now()
		ctx := tenant.WithCause(t.Context(), tenant.CauseRequest("GET"))
		_, release, err := w.manager.Acquire(ctx, alice, tenant.Visit{})
		if err != nil {
			t.Fatal(err)
		}
		why := w.why(alice, tenant.Awake)
		if why.WokenBy != "GET request" || why.LastWake == nil || why.LastWake.Cause != "GET request" || len(why.Holds) != 1 {
			t.Errorf("got %+v, want it woken and held by the request", why)
		}
		at(t, "woken", why.WokenAt, asked)
		at(t, "scheduled", why.ScheduledAt, asked.Truncate(hour).Add(hour))
		release()
		idle := time.Now()
		why = w.why(alice, tenant.Awake)
		if len(why.Holds) != 0 {
			t.Errorf("got holds %+v, want none", why.Holds)
		}
		at(t, "doze", why.DozeAt, idle.Add(100*time.Second))
		at(t, "sleep", why.SleepAt, idle.Add(600*time.Second))
		time.Sleep(100 * time.Second)
		why = w.why(alice, tenant.Dozing)
		at(t, "sleep while dozing", why.SleepAt, idle.Add(600*time.Second))
		if !why.DozeAt.IsZero() {
			t.Errorf("got that a dozing one dozes at %v", why.DozeAt)
		}
		if _, err := w.manager.KeepAwake(t.Context(), alice, hour); err != nil {
			t.Fatal(err)
		}
		leased := time.Now()
		why = w.why(alice, tenant.Awake)
		at(t, "doze after the lease", why.DozeAt, leased.Add(hour))
		if why.WokenBy != tenant.CauseOperator {
			t.Errorf("got it woken by %q, want the operator", why.WokenBy)
		}
	})
}

func TestWhyAsleep(t *testing.T) {
	text := notes("idle_timeout = 60\nschedule = [\"1h\"]")
	bubble(t, text, func(t *testing.T, w *world) {
		rested := func(want string) tenant.Why {
			t.Helper()
			why := w.why(alice, tenant.Asleep)
			if why.Rested != want || !why.DozeAt.IsZero() || !why.SleepAt.IsZero() {
				t.Errorf("got %+v, want it asleep because %q", why, want)
			}
			return why
		}
		w.register(alice)
		rested("asked to")
		w.served(alice, 2)
		time.Sleep(time.Minute)
		rested("idle")
		w.served(alice, 3)
		w.systemd.Crash(alice)
		time.Sleep(time.Second) // it is started again
		if why := w.why(alice, tenant.Awake); why.WokenBy != tenant.CauseEnded || why.Failures != 1 {
			t.Errorf("got it woken by %q, %d failures, want a restart after one", why.WokenBy, why.Failures)
		}
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.restart(parse(t, text))
		rested("asked to")
		if _, err := w.manager.Restart(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		if why := w.why(alice, tenant.Awake); why.WokenBy != tenant.CauseRestart {
			t.Errorf("got it woken by %q, want a restart", why.WokenBy)
		}
		w.restart(parse(t, text))
		if why := w.why(alice, tenant.Awake); why.WokenBy != tenant.CauseRestart {
			t.Errorf("after the daemon's restart: got it woken by %q, want a restart", why.WokenBy)
		}
		time.Sleep(time.Until(time.Now().Truncate(hour).Add(hour)) + time.Second)
		if why := w.why(alice, tenant.Awake); why.WokenBy != "schedule 1h" {
			t.Errorf("got it woken by %q, want its schedule", why.WokenBy)
		}
	})
}

func TestWhyFailed(t *testing.T) {
	text := strings.Replace(notes("idle_timeout = 60"), "[settings]\n", "[settings]\nmax_restarts = 2\n", 1) +
		"\n[instances]\nnotes = [\"bob\"]\n"
	bubble(t, text, func(t *testing.T, w *world) {
		time.Sleep(time.Second)
		if why := w.why(bob, tenant.Awake); why.WokenBy != tenant.CauseConfigured {
			t.Errorf("got it woken by %q, want the configuration", why.WokenBy)
		}
		w.register(alice)
		w.systemd.SetApp(alice, lifecycletest.App{Refusal: &ingress.Refusal{Class: ingress.ClassExited, Text: "exit status 3"}})
		for range 2 {
			if _, err := w.request(alice); err == nil {
				t.Fatal("a broken app was started")
			}
		}
		why := w.why(alice, tenant.Asleep)
		if why.Failures != 2 || why.Spent || !strings.Contains(why.Reason, "exit status 3") || why.Rested != "its start failed" {
			t.Errorf("got %+v, want two failures", why)
		}
		at(t, "next try", why.NextTry, why.Since.Add(time.Second))
		time.Sleep(time.Minute)
		_, _ = w.request(alice)
		why = w.why(alice, tenant.Failed)
		if why.Failures != 3 || !why.Spent {
			t.Errorf("got %+v, want it failed for good", why)
		}
	})
}

// Since when and why an instance rests outlives the daemon; of one that ran when the
// daemon ended, and does not any more, nobody knows.
func TestRestIsRemembered(t *testing.T) {
	text := notes("idle_timeout = 60\nrestart = \"never\"")
	bubble(t, text, func(t *testing.T, w *world) {
		carol := tenant.ID{Service: "notes", Name: "carol"}
		w.spawn(alice)
		time.Sleep(time.Minute)
		idle := w.why(alice, tenant.Asleep)
		w.spawn(bob, carol)
		time.Sleep(time.Second)
		w.systemd.Crash(bob)
		failed := w.why(bob, tenant.Failed)
		if idle.Rested != "idle" || failed.Reason == "" {
			t.Fatalf("got %+v and %+v, want reasons", idle, failed)
		}
		time.Sleep(time.Second)
		w.stop()
		w.systemd.StopUnit(carol)
		time.Sleep(time.Hour)
		begun := time.Now()
		w.start(parse(t, text))
		<-w.manager.Ready()

		got := w.why(alice, tenant.Asleep)
		at(t, "asleep", got.Since, idle.Since)
		if got.Rested != idle.Rested || got.Reason != idle.Reason {
			t.Errorf("asleep: got %q, %q, want %q, %q", got.Rested, got.Reason, idle.Rested, idle.Reason)
		}
		got = w.why(bob, tenant.Failed)
		at(t, "failed", got.Since, failed.Since)
		if got.Reason != failed.Reason {
			t.Errorf("failed: got %q, want %q", got.Reason, failed.Reason)
		}
		got = w.why(carol, tenant.Asleep)
		at(t, "gone", got.Since, begun)
		if got.Rested != "" || got.Reason != "" {
			t.Errorf("gone: got %q, %q, want no reason", got.Rested, got.Reason)
		}
	})
}
