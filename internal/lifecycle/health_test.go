package lifecycle_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
)

// patient is the service notes with a health path and room for all delays.
func patient(more string) string {
	return strings.Replace(notes("health = \"/health\"\n"+more), "[settings]\n",
		"[settings]\nmax_restarts = 9\nrestart_window = 3600\n", 1)
}

// checked is an app that answers with what status says, and counts how often.
type checked struct{ status, asked atomic.Int64 }

func newChecked() *checked {
	c := &checked{}
	c.status.Store(200)
	return c
}

func (c *checked) app() lifecycletest.App {
	return lifecycletest.App{Status: func() int {
		c.asked.Add(1)
		return int(c.status.Load())
	}}
}

func TestHealthIsDegradedThenHealthyAgain(t *testing.T) {
	bubble(t, patient(""), func(t *testing.T, w *world) {
		c := newChecked()
		w.systemd.SetApp(alice, c.app())
		w.spawn(alice)
		w.spawn(bob)
		time.Sleep(time.Minute)
		if s := w.state(alice, tenant.Awake); s.Health != tenant.Healthy || s.Reason != "" {
			t.Errorf("got %q, %q, want it healthy", s.Health, s.Reason)
		}
		for _, status := range []int64{500, 204, 404} {
			c.status.Store(status)
			asked := c.asked.Load()
			begun := time.Now()
			for c.asked.Load() == asked {
				time.Sleep(10 * time.Millisecond)
			}
			if took := time.Since(begun); took > 11*time.Second+10*time.Millisecond {
				t.Errorf("the next check came after %v, want about 10 s", took)
			}
			s := w.state(alice, tenant.Awake)
			if want := fmt.Sprintf("health check failed: status %d", status); s.Health != tenant.Degraded || s.Reason != want {
				t.Errorf("got %q, %q, want degraded, %q", s.Health, s.Reason, want)
			}
			c.status.Store(200)
			time.Sleep(11 * time.Second)
			if s := w.state(alice, tenant.Awake); s.Health != tenant.Healthy || s.Reason != "" {
				t.Errorf("got %q, %q, want it healthy again", s.Health, s.Reason)
			}
		}
		w.starts(alice, 1)
		if s := w.state(bob, tenant.Awake); s.Health != tenant.Healthy {
			t.Errorf("bob: got %q", s.Health)
		}
	})
}

// Each restart has its delay, and the last failure is the end.
func TestUnhealthyIsRestartedThenFailed(t *testing.T) {
	bubble(t, patient(""), func(t *testing.T, w *world) {
		for _, mute := range []bool{false, true} {
			id := tenant.ID{Service: "notes", Name: fmt.Sprint("mute-", mute)}
			c := newChecked()
			app := c.app()
			app.Stop = 50 * time.Millisecond
			w.systemd.SetApp(id, app)
			w.spawn(id)
			starts := 1
			for i, delay := range []time.Duration{0, 1, 2, 4, 8, 16, 32, 60, 60} {
				delay *= time.Second
				c.status.Store(500)
				if mute {
					c.status.Store(0)
				}
				for w.state(id, tenant.Awake).Health != tenant.Degraded {
					time.Sleep(10 * time.Millisecond)
				}
				begun := time.Now()
				for w.get(id).State == tenant.Awake {
					time.Sleep(10 * time.Millisecond)
				}
				if took := time.Since(begun); took < 18*time.Second || took > 35*time.Second {
					t.Errorf("restart %d came %v after the first failure, want two intervals", i, took)
				}
				c.status.Store(200)
				if delay > 0 {
					time.Sleep(delay - 20*time.Millisecond)
					w.starts(id, starts)
				}
				time.Sleep(100 * time.Millisecond)
				starts++
				s := w.state(id, tenant.Awake)
				w.starts(id, starts)
				if s.Restarts != int64(starts-1) || s.Health != tenant.Healthy {
					t.Errorf("got %d restarts, %q, want %d, healthy", s.Restarts, s.Health, starts-1)
				}
			}
			c.status.Store(500)
			time.Sleep(time.Minute)
			s := w.state(id, tenant.Failed)
			if want := "unhealthy: health check failed: status 500"; s.Reason != want {
				t.Errorf("got reason %q, want %q", s.Reason, want)
			}
			_, err := w.request(id)
			code(t, err, tenant.CodeFailed)
			time.Sleep(time.Hour)
			w.starts(id, starts)
			c.status.Store(200)
			if _, err := w.manager.Restart(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			w.served(id, starts+1)
			if s := w.state(id, tenant.Awake); s.Restarts != int64(starts-1) {
				t.Errorf("got %d restarts, want %d still", s.Restarts, starts-1)
			}
		}
	})
}

// Requests that come while an unhealthy instance is restarted wait for the next process;
// for a long delay they are told to come back.
func TestRequestsAreHeldOverARestart(t *testing.T) {
	bubble(t, patient(""), func(t *testing.T, w *world) {
		c := newChecked()
		app := c.app()
		app.Stop = 2 * time.Second
		w.systemd.SetApp(alice, app)
		w.spawn(alice)
		for i, delay := range []time.Duration{0, 1, 2, 4, 8} {
			c.status.Store(500)
			for w.get(alice).State == tenant.Awake {
				time.Sleep(10 * time.Millisecond)
			}
			c.status.Store(200)
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					got, err := w.request(alice)
					var e *tenant.Error
					switch {
					case delay < 6 && (err != nil || got != fmt.Sprint(i+2)):
						t.Errorf("delay %d: got run %q, %v, want %d", delay, got, err, i+2)
					case delay >= 6 && (!errors.As(err, &e) || e.Code != tenant.CodeUnavailable || e.RetryAfter <= 5*time.Second):
						t.Errorf("delay %d: got %v, want to be told when to come back", delay, err)
					}
				})
			}
			wg.Wait()
			time.Sleep(10 * time.Second)
			w.state(alice, tenant.Awake)
		}
	})
}

// Checks are no activity, and neither wake, thaw nor keep anything from resting.
func TestChecksDisturbNoRest(t *testing.T) {
	bubble(t, patient("doze_timeout = 25\nidle_timeout = 60\n"), func(t *testing.T, w *world) {
		c := newChecked()
		w.systemd.SetApp(alice, c.app())
		w.spawn(alice)
		last := w.state(alice, tenant.Awake).LastActive
		time.Sleep(25 * time.Second)
		w.state(alice, tenant.Dozing)
		if asked := c.asked.Load(); asked < 3 {
			t.Errorf("got %d checks while awake, want 2 after the first", asked)
		}
		asked := c.asked.Load()
		time.Sleep(35 * time.Second)
		if s := w.state(alice, tenant.Asleep); !s.LastActive.Equal(last) {
			t.Errorf("checks moved the last activity by %v", s.LastActive.Sub(last))
		}
		time.Sleep(time.Hour)
		w.starts(alice, 1)
		if got := c.asked.Load(); got != asked {
			t.Errorf("got %d checks while it rested", got-asked)
		}
	})
}

// Whatever a check is about when its instance dozes or stops, it wakes nobody.
func TestCheckAtEveryMomentOfARest(t *testing.T) {
	for _, app := range []lifecycletest.App{
		{Serve: 40 * time.Millisecond, Freeze: 5 * time.Millisecond, Stop: 20 * time.Millisecond},
		{Serve: time.Hour, Freeze: 5 * time.Millisecond, Stop: 20 * time.Millisecond}, // never answers in time
	} {
		for range 200 { // the schedule has chance in it
			text := strings.Replace(patient("doze_timeout = 10\nidle_timeout = 20\nrestart = \"never\"\n"), "[settings]\n", "[settings]\nhealth_check_interval = 0.4\n", 1)
			bubble(t, text, func(t *testing.T, w *world) {
				w.spawn(alice)
				w.stop()
				w.systemd.Crash(alice)
				time.Sleep(time.Second)
				w.systemd.SetApp(alice, app)
				w.systemd.Start(alice) // one that is not asked before it is awake
				time.Sleep(time.Second)
				w.start(parse(t, strings.Replace(text, "health = \"/health\"", "", 1)))
				<-w.manager.Ready()
				w.state(alice, tenant.Awake)
				w.manager.SetConfig(parse(t, text))
				time.Sleep(10*time.Second + 10*time.Millisecond)
				w.state(alice, tenant.Dozing)
				w.active(alice, "frozen")
				time.Sleep(11 * time.Second)
				w.state(alice, tenant.Asleep)
				w.active(alice, "inactive")
				w.starts(alice, 2)
			})
		}
	}
}

// An app that serves one connection at a time is not blocked by one of ours, but for a
// moment in each of its lives.
func TestChecksOfAnAppThatServesOneAtATime(t *testing.T) {
	bubble(t, patient(""), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Single: true, Serve: time.Millisecond})
		w.spawn(alice)
		late := 0
		for range 1000 {
			time.Sleep(97 * time.Millisecond)
			begun := time.Now()
			w.served(alice, 1)
			if took := time.Since(begun); took > 150*time.Millisecond {
				t.Fatalf("a request took %v", took)
			} else if took > 20*time.Millisecond {
				late++
			}
		}
		if late > 2 {
			t.Errorf("%d requests had to wait", late)
		}
		if s := w.state(alice, tenant.Awake); s.Health != tenant.Healthy || s.Restarts != 0 {
			t.Errorf("got %q and %d restarts, want it healthy", s.Health, s.Restarts)
		}
	})
}

// One that loops disturbs no other's schedule.
func TestSchedulesAreSeparate(t *testing.T) {
	bubble(t, patient(""), func(t *testing.T, w *world) {
		for i := range 8 {
			id := tenant.ID{Service: "notes", Name: fmt.Sprint("bad-", i)}
			bad := newChecked()
			w.systemd.SetApp(id, bad.app())
			w.spawn(id)
			bad.status.Store(int64(i % 2 * 500)) // half of them do not even answer
		}
		c := newChecked()
		w.systemd.SetApp(alice, c.app())
		w.spawn(alice)
		begun := c.asked.Load()
		time.Sleep(1000 * time.Second)
		if got := c.asked.Load() - begun; got < 90 || got > 112 {
			t.Errorf("got %d checks in 1000 s, want one each 10 s", got)
		}
		w.starts(alice, 1)
	})
}

func TestUnhealthyWithoutRestart(t *testing.T) {
	bubble(t, patient("restart = \"never\"\n"), func(t *testing.T, w *world) {
		c := newChecked()
		w.systemd.SetApp(alice, c.app())
		w.spawn(alice)
		c.status.Store(503)
		time.Sleep(time.Minute)
		if s := w.state(alice, tenant.Awake); s.Health != tenant.Unhealthy {
			t.Errorf("got %q, want unhealthy", s.Health)
		}
		w.starts(alice, 1)
		c.status.Store(200)
		time.Sleep(11 * time.Second)
		if s := w.state(alice, tenant.Awake); s.Health != tenant.Healthy {
			t.Errorf("got %q, want healthy again", s.Health)
		}
	})
}

// A new daemon checks what it adopts, and one that was starting before requests pass.
func TestAdoptedInstancesAreChecked(t *testing.T) {
	bubble(t, patient("startup_timeout = 30\n"), func(t *testing.T, w *world) {
		c, late := newChecked(), newChecked()
		w.systemd.SetApp(alice, c.app())
		w.spawn(alice)
		late.status.Store(503)
		w.systemd.SetApp(bob, late.app())
		_, _, err := w.manager.Spawn(shortly(t), bob)
		code(t, err, tenant.CodeUnavailable)
		w.state(bob, tenant.Waking)
		c.status.Store(500)
		w.restart(parse(t, patient("startup_timeout = 30\n")))
		w.state(alice, tenant.Waking)
		w.state(bob, tenant.Waking)
		begun := time.Now()
		go func() {
			time.Sleep(5 * time.Second)
			late.status.Store(200)
		}()
		w.served(bob, 1)
		if took := time.Since(begun); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("the request was let through after %v, want when it was healthy", took)
		}
		// One that stays ill is not killed for a start that may be long past: it has its
		// three checks.
		if _, err := w.request(alice); err == nil || !strings.Contains(err.Error(), "status 500") {
			t.Errorf("got %v, want the app's own answer", err)
		}
		if took := time.Since(begun).Round(time.Second); took != 30*time.Second {
			t.Errorf("the request was held for %v, want startup_timeout", took)
		}
		w.starts(alice, 1)
		time.Sleep(40 * time.Second)
		w.starts(alice, 2)
		w.starts(bob, 1)
	})
}
