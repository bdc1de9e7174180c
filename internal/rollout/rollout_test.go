package rollout_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
)

var ends = lifecycletest.App{Refusal: &ingress.Refusal{Class: ingress.ClassExited, Text: "exit status 1"}}

func TestRolloutChangesSleepersAtOnceAndTheOthersByBatches(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.spawn(5, 10)
		before := w.systemd.Starts(id("asleep0"))
		w.begin("v2", tenant.RolloutPlan{Batch: 2, Pause: time.Minute})
		time.Sleep(30 * time.Second) // in the middle of the first batch's pause
		if got := w.with("asleep", "v2"); got != 10 {
			t.Errorf("got %d sleepers with v2, want all", got)
		}
		if got := w.with("awake", "v2"); got != 2 {
			t.Errorf("got %d awake ones with v2, want a batch", got)
		}
		if r := w.status(); r.State != tenant.RolloutRunning || r.Changed != 12 || r.Instances != 15 || r.Pending != 0 {
			t.Errorf("got %+v", r)
		}
		// One that is created meanwhile has the release before, and is changed like the others.
		if _, _, err := w.manager.Spawn(t.Context(), id("awake5")); err != nil {
			t.Fatal(err)
		}
		if got := w.systemd.Spec(id("awake5")).Argv[1]; got != "v1" {
			t.Errorf("a new one got %s, want v1", got)
		}
		begun := time.Now()
		w.end(tenant.RolloutDone)
		if got := time.Since(begun); got < 2*time.Minute || got > 3*time.Minute {
			t.Errorf("the rest took %v, want two batches and a half", got)
		}
		w.all("v2")
		for e, err := range w.events.Follow(t.Context(), w.events.Start()) {
			if got := fmt.Sprint(e.Kind, e.Fields); err != nil || got != "rollout[service=notes release=v2 text=notes: v2 instead of v1]" {
				t.Errorf("event: got %s, %v", got, err)
			}
			break
		}
		if got := w.systemd.Starts(id("asleep0")); got != before {
			t.Errorf("a sleeper was started")
		}
		if _, _, err := w.manager.Spawn(t.Context(), id("new")); err != nil {
			t.Fatal(err)
		}
		if got := w.systemd.Spec(id("new")).Argv[1]; got != "v2" {
			t.Errorf("one created afterwards got %s, want v2", got)
		}
		// And back.
		if _, err := w.engine.Rollback(t.Context(), "notes"); err != nil {
			t.Fatal(err)
		}
		if r := w.end(tenant.RolloutDone); r.Release != "v1" || r.Plan.Batch != 2 {
			t.Errorf("rollback: got %+v", r)
		}
		w.all("v1")
	})
}

func TestCanaryComesFirst(t *testing.T) {
	for name, plan := range map[string]tenant.RolloutPlan{
		"names":   {Canary: []string{"awake1", "asleep3"}, Pause: time.Minute},
		"percent": {CanaryPercent: 15, Pause: time.Minute}, // 1.95 of 13
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.spawn(3, 10)
				w.begin("v2", plan)
				time.Sleep(30 * time.Second)
				if got := w.with("", "v2"); got != 2 {
					t.Errorf("got %d with v2, want the canary", got)
				}
				if plan.Canary == nil && w.with("awake", "v2") != 2 {
					t.Error("the canary sleeps, though others are awake")
				}
				w.end(tenant.RolloutDone)
				w.all("v2")
			})
		})
	}
}

func TestBadReleaseGoesBackByItself(t *testing.T) {
	unhealthy := func(w *world, who string) {
		w.systemd.Crash(id(who))
	}
	for name, test := range map[string]struct {
		app  lifecycletest.App
		then func(w *world) // in the pause after the first batch
		want string
	}{
		"does not start": {app: ends, want: "did not start with it: the app ended with exit status 1"},
		"never ready":    {app: lifecycletest.App{NeverReady: true}, want: "did not start with it"},
		"ends soon":      {then: func(w *world) { unhealthy(w, "awake0") }, want: "awake0 has failed with it"},
		"a sleeper cannot start": {
			then: func(w *world) {
				w.onRelease("v2", ends)
				if _, err := w.manager.Wake(w.t.Context(), id("asleep7")); err != nil {
					w.t.Errorf("somebody was told of it: %v", err)
				}
			},
			want: "notes:asleep7 did not start with it: the app ended with exit status 1",
		},
		"answers with errors": {
			then: func(w *world) {
				for i := range 100 {
					w.meter.Count("notes", "v1", 200+300*(i/99))
					w.meter.Count("notes", "v2", 200+300*(i/95))
				}
			},
			want: "5 of 100 answers of v2 were 5xx (5.0 %), and 1.0 % before",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.spawn(4, 10)
				w.onRelease("v2", test.app)
				w.begin("v2", tenant.RolloutPlan{Batch: 2, Pause: time.Minute})
				if test.then != nil {
					time.Sleep(30 * time.Second)
					test.then(w)
				}
				r := w.end(tenant.RolledBack)
				if !strings.Contains(r.Reason, test.want) {
					t.Errorf("got %q, want %q in it", r.Reason, test.want)
				}
				w.all("v1")
				for i, name := range []string{"awake0", "awake1", "awake2", "awake3"} {
					if s, err := w.manager.Get(id(name)); err != nil || s.State != tenant.Awake {
						t.Errorf("%s: got %v, want it awake", name, s.State)
					}
					if starts := w.systemd.Starts(id(name)); i > 1 && starts != 1 {
						t.Errorf("%s was started %d times, and not in the first batch", name, starts)
					}
				}
				if got := w.manager.ServiceRelease("notes"); got != "v1" {
					t.Errorf("new instances get %s, want v1", got)
				}
				_, err := w.engine.Rollback(t.Context(), "notes")
				code(t, err, tenant.CodeConflict)
				// Another one may begin.
				w.systemd.SetAppOf(nil)
				w.begin("v2", tenant.RolloutPlan{})
				w.end(tenant.RolloutDone)
				w.all("v2")
			})
		})
	}
}

func TestFewErrorsAreNoReason(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.spawn(2, 0)
		w.begin("v2", tenant.RolloutPlan{Pause: time.Minute})
		time.Sleep(30 * time.Second)
		for range 4 { // too few
			w.meter.Count("notes", "v2", 500)
		}
		w.end(tenant.RolloutDone)
		// As many as before.
		for i := range 100 {
			w.meter.Count("notes", "v2", 200+300*(i%10/9))
		}
		w.begin("v3", tenant.RolloutPlan{Pause: time.Minute})
		time.Sleep(30 * time.Second)
		for i := range 100 {
			w.meter.Count("notes", "v3", 200+300*(i%10/8))
		}
		w.end(tenant.RolloutDone)
		w.all("v3")
	})
}

func TestPauseResumeAbort(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.spawn(6, 0)
		w.begin("v2", tenant.RolloutPlan{Batch: 2, Pause: time.Minute})
		_, err := w.engine.Begin(t.Context(), "notes", "v3", tenant.RolloutPlan{})
		code(t, err, tenant.CodeConflict)
		time.Sleep(30 * time.Second)
		if r, err := w.engine.Pause(t.Context(), "notes"); err != nil || r.State != tenant.RolloutPaused {
			t.Fatalf("pause: got %+v, %v", r, err)
		}
		time.Sleep(time.Hour / 2)
		if r := w.status(); r.State != tenant.RolloutPaused || r.Changed != 2 {
			t.Errorf("while it is paused: got %+v", r)
		}
		// It also stands still over a restart of the daemon.
		w.restart()
		time.Sleep(10 * time.Minute)
		if r := w.status(); r.State != tenant.RolloutPaused || r.Changed != 2 {
			t.Errorf("in the next daemon: got %+v", r)
		}
		if _, err := w.engine.Resume(t.Context(), "notes"); err != nil {
			t.Fatal(err)
		}
		_, err = w.engine.Resume(t.Context(), "notes")
		code(t, err, tenant.CodeConflict)
		time.Sleep(30 * time.Second)
		if r := w.status(); r.Changed != 4 {
			t.Errorf("resumed: got %+v", r)
		}
		r, err := w.engine.Abort(t.Context(), "notes")
		if err != nil || r.State != tenant.RolloutAborted || r.Changed != 4 || r.Pending != 0 || r.Ended.IsZero() {
			t.Errorf("abort: got %+v, %v", r, err)
		}
		if got := w.with("", "v1"); got != 2 {
			t.Errorf("got %d with v1, want the rest", got)
		}
		if got := w.manager.ServiceRelease("notes"); got != "v1" {
			t.Errorf("new instances get %s, want v1", got)
		}
		// It is over for good.
		w.restart()
		time.Sleep(time.Minute)
		if r := w.status(); r.State != tenant.RolloutAborted || r.Changed != 4 {
			t.Errorf("in the next daemon: got %+v", r)
		}
		if _, err := w.engine.Rollback(t.Context(), "notes"); err != nil {
			t.Fatal(err)
		}
		w.end(tenant.RolloutDone)
		w.all("v1")
	})
}

// Who is told that one could not be aborted can rely on it, and who has it aborted while the
// registry cannot be written waits a little longer.
func TestAbortWithoutRegistry(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.spawn(4, 0)
		w.begin("v2", tenant.RolloutPlan{Batch: 2, Pause: time.Minute})
		time.Sleep(30 * time.Second)
		w.saves.fail.Store(true)
		r, err := w.engine.Abort(t.Context(), "notes")
		if err != nil || r.State != tenant.RolloutAborted || r.Changed != 2 {
			t.Errorf("got %+v, %v, want it aborted", r, err)
		}
		if w.saves.fail.Load() {
			t.Error("nothing was written")
		}
		_, err = w.engine.Abort(t.Context(), "notes")
		code(t, err, tenant.CodeConflict)
	})
}

// Who has one aborted while the daemon ends is not told that it is.
func TestAbortWhileTheDaemonEnds(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.systemd.SetApp(tenant.ID{}, lifecycletest.App{Ready: time.Second, Stop: time.Second})
		w.spawn(2, 0)
		w.begin("v2", tenant.RolloutPlan{Batch: 1, Pause: 10 * time.Second})
		synctest.Wait() // the first one is being restarted
		aborted := make(chan error, 1)
		go func() { aborted <- second(w.engine.Abort(t.Context(), "notes")) }()
		synctest.Wait()
		w.restart()
		code(t, <-aborted, tenant.CodeUnavailable)
		if r := w.status(); !r.State.Active() {
			t.Fatalf("got %+v, want it to go on", r)
		}
		w.end(tenant.RolloutDone)
		w.all("v2")
	})
}

func TestRollbackOfOneThatGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.spawn(4, 4)
		w.begin("v2", tenant.RolloutPlan{Batch: 2, Pause: time.Minute})
		time.Sleep(30 * time.Second)
		if r, err := w.engine.Rollback(t.Context(), "notes"); err != nil || r.State != tenant.RolloutBack {
			t.Fatalf("got %+v, %v", r, err)
		}
		w.end(tenant.RolledBack)
		w.all("v1")
	})
}

// The daemon ends at any moment, and the next one goes on.
func TestRolloutResumes(t *testing.T) {
	for _, bad := range []bool{false, true} {
		for _, after := range []time.Duration{0, 1500 * time.Millisecond, 5 * time.Second, 25 * time.Second, 27 * time.Second, 29 * time.Second} {
			name := after.String()
			if bad {
				name += " bad"
			}
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					w.systemd.SetApp(tenant.ID{}, lifecycletest.App{Ready: time.Second, Stop: time.Second})
					w.spawn(6, 6)
					var starts atomic.Int64
					w.systemd.SetAppOf(func(spec tenant.Spec) (lifecycletest.App, bool) {
						if spec.Argv[1] != "v2" || spec.ID.Name != "awake4" || !bad {
							return lifecycletest.App{}, false
						}
						starts.Add(1)
						return ends, true
					})
					w.begin("v2", tenant.RolloutPlan{Batch: 2, Pause: 10 * time.Second})
					time.Sleep(after)
					w.restart()
					synctest.Wait()
					if r := w.status(); !r.State.Active() {
						t.Fatalf("got %+v, want it to go on", r)
					}
					if bad {
						w.end(tenant.RolledBack)
						w.all("v1")
						if starts.Load() == 0 {
							t.Error("awake4 was not tried")
						}
						return
					}
					w.end(tenant.RolloutDone)
					w.all("v2")
				})
			})
		}
	}
}

func TestWhatIsAskedForWrongly(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.spawn(1, 0)
		ctx := t.Context()
		for want, err := range map[string]error{
			"not the name":              second(w.engine.Begin(ctx, "notes", "../v2", tenant.RolloutPlan{})),
			"no service":                second(w.engine.Begin(ctx, "web", "v2", tenant.RolloutPlan{})),
			"have release v1 already":   second(w.engine.Begin(ctx, "notes", "v1", tenant.RolloutPlan{})),
			"batch of -1":               second(w.engine.Begin(ctx, "notes", "v2", tenant.RolloutPlan{Batch: -1})),
			"pause of":                  second(w.engine.Begin(ctx, "notes", "v2", tenant.RolloutPlan{Pause: -1})),
			"canary of 101":             second(w.engine.Begin(ctx, "notes", "v2", tenant.RolloutPlan{CanaryPercent: 101})),
			"no instance notes:nobody":  second(w.engine.Begin(ctx, "notes", "v2", tenant.RolloutPlan{Canary: []string{"nobody"}})),
			"not a valid instance name": second(w.engine.Begin(ctx, "notes", "v2", tenant.RolloutPlan{Canary: []string{"A"}})),
			"has been no rollout":       second(w.engine.Status(ctx, "notes")),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q in it", err, want)
			}
		}
		for _, f := range []error{
			second(w.engine.Pause(ctx, "notes")), second(w.engine.Resume(ctx, "notes")),
			second(w.engine.Abort(ctx, "notes")), second(w.engine.Rollback(ctx, "notes")),
		} {
			code(t, f, tenant.CodeNotFound)
		}
		w.begin("v2", tenant.RolloutPlan{})
		w.end(tenant.RolloutDone)
		for _, f := range []error{second(w.engine.Pause(ctx, "notes")), second(w.engine.Resume(ctx, "notes")), second(w.engine.Abort(ctx, "notes"))} {
			code(t, f, tenant.CodeConflict)
		}
	})
}

func second[A any](_ A, err error) error { return err }
