package lifecycle_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/ingress"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
)

// told gives what has been told after a place, one line each, and the new place.
func (w *world) told(after event.ID) ([]event.Event, event.ID) {
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	var list []event.Event
	last := w.events.Last()
	for e, err := range w.events.Follow(ctx, after) {
		if err != nil {
			w.t.Errorf("follow: %v", err)
		}
		list = append(list, e)
		if e.ID == last {
			break
		}
	}
	return list, last
}

// line is an event without what is different each time.
func line(e event.Event) string {
	s := string(e.Kind)
	if !e.Instance.IsZero() {
		s += " " + e.Instance.String()
	}
	if e.Actor != "" {
		s += " by " + string(e.Actor)
	}
	for _, name := range []string{"from", "to", "reason", "cause", "restart", "health", "failures", "host", "weight", "memory", "for", "how", "message", "service"} {
		if v := e.Field(name); v.Any() != nil {
			s += fmt.Sprintf(" %s=%v", name, v)
		}
	}
	return s
}

// Each thing that an operator does, and each that happens by itself, is told once, in
// order, and with who asked for it.
func TestEvents(t *testing.T) {
	bubble(t, notes("idle_timeout = 60\ndoze_timeout = 20\nhealth = \"/health\"\n"), func(t *testing.T, w *world) {
		ctx := tenant.WithActor(t.Context(), "user carol")
		place := w.events.Start()
		for _, step := range []struct {
			name string
			do   func() error
			want []string
		}{
			{"spawn", func() error { _, _, err := w.manager.Spawn(ctx, alice); return err }, []string{
				"created notes:alice by user carol cause=operator",
				"state notes:alice from=asleep to=waking",
				"state notes:alice from=waking to=awake",
				"woke notes:alice by user carol cause=operator health=0s",
			}},
			{"weight", func() error { _, err := w.manager.SetWeight(ctx, alice, weight(7)); return err }, []string{
				"weight notes:alice by user carol weight=7",
			}},
			{"limit", func() error {
				_, err := w.manager.SetLimits(ctx, alice, tenant.LimitChange{Set: tenant.Limits{tenant.LimitMemory: 1 << 29}})
				return err
			}, []string{"limits notes:alice by user carol memory=536870912"}},
			{"add domain", func() error { _, _, err := w.manager.AddDomain(ctx, "a.example", alice, false); return err }, []string{
				"domain_added notes:alice by user carol host=a.example",
			}},
			{"add it again", func() error { _, _, err := w.manager.AddDomain(ctx, "a.example", alice, false); return err }, nil},
			{"remove domain", func() error { return w.manager.RemoveDomain(ctx, "a.example") }, []string{
				"domain_removed notes:alice by user carol host=a.example",
			}},
			{"doze", func() error { time.Sleep(25 * time.Second); return nil }, []string{
				"state notes:alice from=awake to=dozing",
				"dozed notes:alice",
			}},
			{"thaw", func() error { _, err := w.request(alice); return err }, []string{
				"state notes:alice from=dozing to=waking",
				"state notes:alice from=waking to=awake",
				"woke notes:alice cause=request health=0s",
			}},
			{"lease", func() error { _, err := w.manager.KeepAwake(ctx, alice, time.Minute); return err }, []string{
				"kept_awake notes:alice by user carol for=1m0s",
			}},
			{"restart", func() error { _, err := w.manager.Restart(ctx, alice); return err }, []string{
				"state notes:alice from=awake to=stopping reason=restart",
				"state notes:alice from=stopping to=asleep",
				"stopped notes:alice by user carol reason=restart",
				"state notes:alice from=asleep to=waking",
				"state notes:alice from=waking to=awake",
				"woke notes:alice by user carol cause=restart health=0s",
			}},
			{"pause", func() error { _, err := w.manager.Pause(ctx, alice, "back soon", time.Hour); return err }, []string{
				"paused notes:alice by user carol for=1h0m0s message=back soon",
			}},
			{"unpause", func() error { _, err := w.manager.Unpause(ctx, alice); return err }, []string{
				"unpaused notes:alice by user carol",
			}},
			{"unpause again", func() error { _, err := w.manager.Unpause(ctx, alice); return err }, nil},
			{"pause all", func() error { _, err := w.manager.Pause(ctx, tenant.ID{Service: "notes"}, "", 0); return err }, []string{
				"paused by user carol message= service=notes",
			}},
			{"unpause all", func() error { _, err := w.manager.Unpause(ctx, tenant.ID{Service: "notes"}); return err }, []string{
				"unpaused by user carol service=notes",
			}},
			{"stop", func() error { _, err := w.manager.Stop(ctx, alice); return err }, []string{
				"state notes:alice from=awake to=stopping reason=asked to",
				"state notes:alice from=stopping to=asleep",
				"stopped notes:alice by user carol reason=asked to",
			}},
			{"destroy", func() error { return w.manager.Destroy(ctx, alice) }, []string{
				"state notes:alice from=asleep to=stopping",
				"state notes:alice from=stopping to=asleep",
				"destroyed notes:alice by user carol",
			}},
		} {
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			synctest.Wait()
			var events []event.Event
			if w.events.Last() != place {
				events, place = w.told(place)
			}
			var got []string
			for _, e := range events {
				got = append(got, line(e))
			}
			if !slices.Equal(got, step.want) {
				t.Errorf("%s told\n\t%s\nwant\n\t%s", step.name, strings.Join(got, "\n\t"), strings.Join(step.want, "\n\t"))
			}
		}
	})
}

// What an app does by itself is told: bad health, a restart, an end, a start that fails.
func TestEventsOfFailures(t *testing.T) {
	bubble(t, notes("health = \"/health\"\n"), func(t *testing.T, w *world) {
		c := newChecked()
		w.systemd.SetApp(alice, c.app())
		w.spawn(alice)
		synctest.Wait()
		_, place := w.told(w.events.Start())
		since := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			var events []event.Event
			if w.events.Last() != place {
				events, place = w.told(place)
			}
			var got []string
			for _, e := range events {
				got = append(got, line(e))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s told\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
			}
		}
		const status = "reason=health check failed: status 500"
		c.status.Store(500)
		for w.get(alice).Health != tenant.Degraded {
			time.Sleep(time.Second)
		}
		since("a bad check", "health notes:alice "+status+" health=degraded failures=1")
		c.status.Store(200)
		for w.get(alice).Health != tenant.Healthy {
			time.Sleep(time.Second)
		}
		since("a good one", "health notes:alice health=healthy failures=0")
		exit := make(chan struct{})
		w.systemd.SetApp(alice, lifecycletest.App{Exit: exit}) // the next one
		c.status.Store(500)
		for w.get(alice).Restarts == 0 {
			time.Sleep(time.Second)
		}
		since("bad health",
			"health notes:alice "+status+" health=degraded failures=1",
			"health notes:alice "+status+" health=unhealthy failures=3",
			"state notes:alice from=awake to=stopping reason=unhealthy: health check failed: status 500",
			"state notes:alice from=stopping to=asleep reason=unhealthy: health check failed: status 500",
			"stopped notes:alice reason=unhealthy: health check failed: status 500",
			"restarting notes:alice",
			"state notes:alice from=asleep to=waking",
			"state notes:alice from=waking to=awake",
			"woke notes:alice cause=restart, after it had failed or ended health=0s",
		)
		w.systemd.SetApp(alice, lifecycletest.App{Refusal: &ingress.Refusal{Class: ingress.ClassExited, Text: "exit status 3"}})
		close(exit)
		synctest.Wait()
		since("an end",
			"ended notes:alice reason=the app ended by itself restart=false",
			"state notes:alice from=awake to=asleep reason=the app ended by itself",
		)
		if _, err := w.request(alice); err == nil {
			t.Error("a request to an app that does not start was answered")
		}
		since("a start that fails",
			"state notes:alice from=asleep to=waking",
			"wake_failed notes:alice reason=the app ended with exit status 3",
			"state notes:alice from=waking to=asleep reason=the app ended with exit status 3",
		)
	})
}
