package lifecycle_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

// slow is an app that takes a second from the ring to its first connection.
var slow = lifecycletest.App{Boot: 100 * time.Millisecond, Ready: 900 * time.Millisecond, Stop: 100 * time.Millisecond}

var exits = &ingress.Refusal{Class: ingress.ClassExited, Text: "exit status 3 before it accepted a connection"}

// A start that goes well asks the service manager nothing that it has not to: each question
// costs it more than the answer is worth where many start at once.
func TestStartsAskForNoListing(t *testing.T) {
	arming(t, 64, "", func(t *testing.T, w *world, _ *marks, _ *memory) {
		w.register(alice)
		w.systemd.SetApp(tenant.ID{}, slow)
		time.Sleep(time.Second)
		var lists atomic.Int32
		w.systemd.SetLatency(func(op string) time.Duration {
			if op == "list" {
				lists.Add(1)
			}
			return 0
		})
		w.served(alice, 2) // cold
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		time.Sleep(soon)
		w.armed(alice, true)
		w.served(alice, 3)
		if got := lists.Load(); got != 0 {
			t.Errorf("got %d listings for two starts and arming once, want none", got)
		}
	})
}

func TestFirstRequestWakes(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice)
		w.systemd.SetApp(alice, slow)
		begun := time.Now()
		e, release := w.acquire(alice)
		defer release()
		since(t, begun, time.Second)
		if woke := e.Woke(); woke == nil || woke.Kind != tenant.WakeCold || woke.Total != time.Second {
			t.Errorf("got wake %+v, want a cold one of 1s", woke)
		}
		if got, err := exchange(t.Context(), e); got != "2" || err != nil {
			t.Errorf("got run %q, %v, want 2", got, err)
		}
		if s := w.state(alice, tenant.Awake); s.Wakes != 2 || s.InFlight != 1 {
			t.Errorf("got %d wakes and %d requests, want 2 and 1", s.Wakes, s.InFlight)
		}
		again, release2 := w.acquire(alice)
		defer release2()
		if again.Woke() != nil {
			t.Errorf("got wake %+v for a request to an awake instance, want nil", again.Woke())
		}
		since(t, begun, time.Second)
	})
}

func TestParallelFirstRequestsStartOneProcess(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice)
		w.systemd.SetApp(alice, slow)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if got, err := w.request(alice); got != "2" || err != nil {
					t.Errorf("got run %q, %v, want 2", got, err)
				}
			})
		}
		wg.Wait()
		w.starts(alice, 2)
	})
}

func TestClientLeavesDuringWake(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice)
		w.systemd.SetApp(alice, slow)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begun := time.Now()
		_, release, err := w.manager.Acquire(ctx, alice, tenant.Visit{})
		code(t, err, tenant.CodeUnavailable)
		if release != nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, release %t, want the context's error and no release", err, release != nil)
		}
		since(t, begun, 300*time.Millisecond)
		w.state(alice, tenant.Waking)
		// Nobody waits any more; the wake goes on and serves whoever comes next.
		w.served(alice, 2)
		since(t, begun, time.Second)
		if s := w.state(alice, tenant.Awake); s.InFlight != 0 {
			t.Errorf("got %d requests in flight, want 0", s.InFlight)
		}
	})
}

func TestRequestOfAnUnknownInstance(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		for _, id := range []tenant.ID{alice, {Service: "other", Name: "alice"}} {
			_, _, err := w.manager.Acquire(t.Context(), id, tenant.Visit{})
			code(t, err, tenant.CodeNotFound)
			w.starts(id, 0)
		}
	})
}

func TestFailingStartReachesAllWaiters(t *testing.T) {
	bubble(t, notes("startup_timeout = 30"), func(t *testing.T, w *world) {
		w.register(alice)
		for range 2 {
			w.systemd.SetApp(alice, lifecycletest.App{Boot: 50 * time.Millisecond, Ready: 50 * time.Millisecond, Refusal: exits})
			begun := time.Now()
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					_, err := w.request(alice)
					var e *tenant.Error
					if !errors.As(err, &e) || e.Code != tenant.CodeStartFailed || e.Msg != "the app ended with "+exits.Text {
						t.Errorf("got %v, want the reason for which it failed", err)
					}
					if got := time.Since(begun); got > 200*time.Millisecond {
						t.Errorf("got the answer after %v, want at once", got)
					}
				})
			}
			wg.Wait()
			s := w.state(alice, tenant.Asleep)
			if want := "the app ended with " + exits.Text; s.Reason != want || s.InFlight != 0 {
				t.Errorf("got reason %q, %d in flight, want %q, 0", s.Reason, s.InFlight, want)
			}
		}
		w.starts(alice, 3)
		w.systemd.SetApp(alice, lifecycletest.App{})
		_, err := w.request(alice)
		code(t, err, tenant.CodeUnavailable)
		time.Sleep(time.Second) // the back-off after two failures
		w.served(alice, 4)
	})
}

func TestBrake(t *testing.T) {
	text := "[settings]\nmax_restarts = 4\nrestart_window = 300\nbackoff_base_ms = 1000\nbackoff_max_ms = 3000\n" +
		"[service.notes]\ncommand = \"/bin/true\"\nlisten = \"unix\"\n"
	bubble(t, text, func(t *testing.T, w *world) {
		w.register(alice)
		w.systemd.SetApp(alice, lifecycletest.App{Refusal: exits})
		// After each failure but the first there is a wait, and no start in it.
		for i, wait := range []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second} {
			_, err := w.request(alice)
			code(t, err, tenant.CodeStartFailed)
			w.state(alice, tenant.Asleep)
			if wait > 0 {
				time.Sleep(wait - time.Millisecond)
				_, err := w.request(alice)
				code(t, err, tenant.CodeUnavailable)
				var e *tenant.Error
				if errors.As(err, &e) && (e.RetryAfter <= 0 || e.RetryAfter > time.Millisecond) {
					t.Errorf("got RetryAfter %v, want at most 1ms", e.RetryAfter)
				}
				time.Sleep(time.Millisecond)
			}
			w.starts(alice, i+2)
		}
		_, err := w.request(alice)
		code(t, err, tenant.CodeStartFailed)
		w.state(alice, tenant.Failed)
		w.starts(alice, 6)
		time.Sleep(24 * time.Hour)
		_, err = w.request(alice)
		code(t, err, tenant.CodeFailed)
		var failed *tenant.Error
		if errors.As(err, &failed) && failed.RetryAfter != 5*time.Minute {
			t.Errorf("visitors are told to come back in %v, want 5 minutes: it takes a person", failed.RetryAfter)
		}
		w.starts(alice, 6)

		w.systemd.SetApp(alice, lifecycletest.App{})
		if _, err := w.manager.Restart(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.served(alice, 7)
		// One success, and the brake is as new.
		w.systemd.SetApp(alice, lifecycletest.App{Refusal: exits})
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, err = w.request(alice)
			code(t, err, tenant.CodeStartFailed)
		}
		w.state(alice, tenant.Asleep)
	})
}

func TestFailuresOutsideTheWindowDoNotCount(t *testing.T) {
	text := "[settings]\nmax_restarts = 1\nrestart_window = 10\n[service.notes]\ncommand = \"/bin/true\"\nlisten = \"unix\"\n"
	bubble(t, text, func(t *testing.T, w *world) {
		w.register(alice)
		w.systemd.SetApp(alice, lifecycletest.App{Refusal: exits})
		for range 5 {
			_, err := w.request(alice)
			code(t, err, tenant.CodeStartFailed)
			w.state(alice, tenant.Asleep)
			time.Sleep(time.Minute)
		}
	})
}

// A failed start leaves nothing that starts again by itself, whatever the hints are
// and however late.
func TestFailedStartIsNotRepeated(t *testing.T) {
	for name, app := range map[string]lifecycletest.App{
		"exit at once":  {Refusal: exits},
		"exit later":    {Boot: 5 * time.Millisecond, Ready: 50 * time.Millisecond, Refusal: exits},
		"no executable": {Refusal: &ingress.Refusal{Class: ingress.ClassExec, Text: "execute /bin/true: permission denied"}},
		"never ready":   {NeverReady: true, Stop: 3 * time.Second},
		"unit fails":    {UnitFails: true},
		"silent":        {Mute: true},
	} {
		for _, late := range []time.Duration{0, time.Millisecond, 3 * time.Millisecond, 40 * time.Millisecond} {
			t.Run(name+" hints "+late.String()+" late", func(t *testing.T) {
				bubble(t, notes("startup_timeout = 2"), func(t *testing.T, w *world) {
					w.register(alice)
					w.systemd.SetApp(alice, app)
					w.systemd.SetLatency(func(op string) time.Duration {
						if op == "hint" {
							return late
						}
						return 0
					})
					begun := time.Now()
					_, err := w.request(alice)
					if c := tenant.CodeOf(err); c != tenant.CodeStartFailed && c != tenant.CodeStartTimeout {
						t.Fatalf("got %v, want a failed start", err)
					}
					if !app.NeverReady && !app.Mute && time.Since(begun) > time.Second {
						t.Errorf("the answer took %v", time.Since(begun))
					}
					starts := w.systemd.Starts(alice)
					if starts > 500 { // each takes a millisecond, and hints come one by one
						t.Errorf("got %d starts for one request", starts)
					}
					time.Sleep(10 * time.Minute)
					w.state(alice, tenant.Asleep)
					w.starts(alice, starts)
					// And it counted once: the second start has no wait before it.
					w.systemd.SetApp(alice, lifecycletest.App{})
					w.served(alice, starts+1)
				})
			})
		}
	}
}

// The ports of tests are below those that the kernel gives to clients: the manager looks at this
// machine's, and whatever else runs here has connections.
func TestPortTakenByAnother(t *testing.T) {
	text := "[settings]\nport_range = \"21230-21239\"\n[service.notes]\ncommand = \"/bin/true\"\n"
	bubble(t, text, func(t *testing.T, w *world) {
		for port := 21230; port < 21233; port++ {
			w.systemd.TakePort(port)
		}
		w.spawn(alice)
		s := w.state(alice, tenant.Awake)
		if row, _ := w.store.row(alice); s.Port < 21233 || s.Port > 21239 || row.Port != s.Port || w.systemd.Spec(alice).Port != s.Port {
			t.Errorf("got port %d, registry %d, unit %d, want one that is free", s.Port, row.Port, w.systemd.Spec(alice).Port)
		}
		w.spawn(bob)
		if b := w.state(bob, tenant.Awake); b.Port == s.Port {
			t.Errorf("both instances have port %d", b.Port)
		}
		if err := w.manager.Destroy(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
	})
}

// Ports are for those that run: sleepers give theirs back, doorbells and armed ones too. That there is none is no failure of the
// app, and for nobody for good.
func TestPortsAreForThoseThatRun(t *testing.T) {
	text := "[settings]\narmed = 1\nport_range = \"21230-21231\"\n[service.notes]\ncommand = \"/bin/true\"\n"
	carol := tenant.ID{Service: "notes", Name: "carol"}
	fakeclock.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.marks, w.memory = newMarks(), &memory{stalls: make(chan struct{}, 1)}
		w.start(parse(t, text))
		<-w.manager.Ready()
		w.spawn(alice, bob)
		for range 10 {
			_, _, err := w.manager.Spawn(t.Context(), carol)
			code(t, err, tenant.CodeLimit)
		}
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if s := w.state(alice, tenant.Asleep); !s.Armed {
			t.Errorf("got %+v, want her armed", s)
		}
		w.spawn(carol)
		for range 10 { // both ports are in use
			_, err := w.request(alice)
			code(t, err, tenant.CodeLimit)
			if !errors.Is(err, tenant.ErrNoPort) {
				t.Errorf("got %v, want to be told that it is for want of a port", err)
			}
			w.state(alice, tenant.Asleep)
			time.Sleep(time.Second)
		}
		if _, err := w.manager.Stop(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
		if _, err := w.request(alice); err != nil {
			t.Error(err)
		}
		w.state(alice, tenant.Awake)
		w.state(bob, tenant.Asleep)
		w.state(carol, tenant.Awake)
	})
}

func TestHealthIsAwaited(t *testing.T) {
	bubble(t, notes("health = \"/health\"\nstartup_timeout = 5"), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Unhealthy: true})
		begun := time.Now()
		_, created, err := w.manager.Spawn(t.Context(), alice)
		code(t, err, tenant.CodeStartTimeout)
		if !created {
			t.Error("got created false, want true: it may become healthy later")
		}
		if took := time.Since(begun); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("got the answer after %v, want startup_timeout", took)
		}
		w.state(alice, tenant.Asleep)
		w.active(alice, "")
		w.systemd.SetApp(alice, lifecycletest.App{Serve: 100 * time.Millisecond})
		e, release := w.acquire(alice)
		defer release()
		if got := e.Woke().Health; got != 100*time.Millisecond {
			t.Errorf("got %v in health, want 100ms", got)
		}
	})
}

// Somebody stops the socket unit of a sleeper, and no hint tells: the next request
// must not suffer.
func TestSleeperWithoutDoorbellIsLoadedAgain(t *testing.T) {
	bubble(t, notes("doze_timeout = 1"), func(t *testing.T, w *world) {
		w.register(alice)
		w.systemd.DropDoorbell(alice)
		w.served(alice, 2)
		time.Sleep(2 * time.Second)
		w.state(alice, tenant.Dozing)
		w.systemd.DropDoorbell(alice)
		w.served(alice, 3)
	})
}

// Nor may a running instance be lost for ever whose socket unit is gone.
func TestRunningInstanceWithoutDoorbell(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.systemd.DropDoorbell(alice)
		if _, err := w.request(alice); err != nil {
			t.Errorf("first request: %v", err)
		}
		w.served(alice, 2)
	})
}

func TestAppThatEndsInAFailedUnitWakesAgainAtOnce(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Stop: time.Second, StopFails: true})
		for _, late := range []time.Duration{0, 500 * time.Microsecond, 2 * time.Millisecond} {
			w.systemd.SetLatency(func(op string) time.Duration {
				if op == "hint" {
					return late
				}
				return 0
			})
			w.spawn(alice)
			for range 20 {
				if _, err := w.manager.Restart(t.Context(), alice); err != nil {
					t.Fatalf("hints %v late: %v", late, err)
				}
			}
		}
	})
}

// Who waits for a start that is killed is served by the next one, unless that goes on.
func TestKilledStartIsRepeated(t *testing.T) {
	for _, trigger := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond} {
		bubble(t, notes("startup_timeout = 10"), func(t *testing.T, w *world) {
			w.register(alice)
			w.systemd.SetApp(alice, lifecycletest.App{Boot: 10 * time.Millisecond, Ready: time.Second})
			w.systemd.SetLatency(func(op string) time.Duration {
				if op == "trigger" {
					return trigger
				}
				return 0
			})
			var wg sync.WaitGroup
			crash := func(times int) {
				wg.Go(func() {
					for range times {
						time.Sleep(500 * time.Millisecond)
						w.systemd.Crash(alice)
					}
				})
			}
			crash(1)
			w.served(alice, 3)
			wg.Wait()

			w.restart(parse(t, notes("startup_timeout = 10")))
			if _, err := w.manager.Stop(t.Context(), alice); err != nil {
				t.Fatal(err)
			}
			crash(5)
			_, err := w.request(alice)
			code(t, err, tenant.CodeStartFailed)
			wg.Wait()
		})
	}
}

func TestRequestDuringStopIsServedByTheNextRun(t *testing.T) {
	bubble(t, notes("idle_timeout = 10"), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Stop: 3 * time.Second})
		w.spawn(alice)
		time.Sleep(11 * time.Second)
		w.state(alice, tenant.Stopping)
		w.served(alice, 2)
	})
}

func TestWakeInFailedLoadIsTriedAgain(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice)
		if _, err := w.manager.Restart(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.manager.SetConfig(parse(t, notes("doze_timeout = 1\nargs = [\"x\"]")))
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.systemd.Fail("load", errors.New("bus is busy"))
		_, err := w.request(alice)
		code(t, err, tenant.CodeUnavailable)
		w.served(alice, 3)
		synctest.Wait()
	})
}
