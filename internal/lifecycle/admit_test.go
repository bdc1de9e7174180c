package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/admission"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

var (
	person  = tenant.Visit{Priority: tenant.PriorityPerson}
	machine = tenant.Visit{}
)

// few is the service notes with so many places for starts.
func few(places int, more string) string {
	return fmt.Sprintf("settings.wake_concurrency = %d\n", places) + strings.Replace(notes(more), "[settings]\n", "settings.", 1)
}

// many registers n sleeping instances that start like app.
func (w *world) many(n int, app lifecycletest.App) []tenant.ID {
	w.t.Helper()
	var ids []tenant.ID
	for i := range n {
		ids = append(ids, tenant.ID{Service: "notes", Name: fmt.Sprint("t", i)})
	}
	w.register(ids...)
	w.systemd.SetApp(tenant.ID{}, app)
	return ids
}

// visit makes a request in the background. Its end is sent on the channel.
func (w *world) visit(ctx context.Context, id tenant.ID, v tenant.Visit) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, release, err := w.manager.Acquire(ctx, id, v)
		if err == nil {
			release()
		}
		done <- err
	}()
	synctest.Wait()
	return done
}

// queued checks how many starts wait and are under way.
func (w *world) queued(waiting, starting int) {
	w.t.Helper()
	synctest.Wait()
	if got, _ := w.manager.Queue(); got != (admission.Counts{Queued: waiting, Starting: starting}) {
		w.t.Fatalf("got %+v, want %d queued and %d starting", got, waiting, starting)
	}
}

func TestStartsAreFewAtATime(t *testing.T) {
	bubble(t, few(2, ""), func(t *testing.T, w *world) {
		var ends []<-chan error
		ids := w.many(6, slow)
		begun := time.Now()
		for _, id := range ids {
			ends = append(ends, w.visit(t.Context(), id, person))
		}
		w.queued(4, 2)
		for _, end := range ends {
			if err := <-end; err != nil {
				t.Error(err)
			}
		}
		since(t, begun, 3*time.Second)
		w.queued(0, 0)
		s := w.state(tenant.ID{Service: "notes", Name: "t5"}, tenant.Awake)
		if s.LastWake.Queue != 2*time.Second || s.LastWake.Total != 3*time.Second {
			t.Errorf("the last wake: got %v of %v in the queue, want 2s of 3s", s.LastWake.Queue, s.LastWake.Total)
		}
		if _, held := w.manager.Queue(); held != 0 {
			t.Errorf("got %d requests held, want none", held)
		}
	})
}

func TestPeopleStartBeforeMachines(t *testing.T) {
	bubble(t, few(1, ""), func(t *testing.T, w *world) {
		ids := w.many(4, slow)
		w.visit(t.Context(), ids[0], machine)
		w.visit(t.Context(), ids[1], machine)
		w.visit(t.Context(), ids[2], person)
		// A person joins what a machine has begun.
		w.visit(t.Context(), ids[3], machine)
		w.visit(t.Context(), ids[3], person)
		for i, want := range [][]tenant.State{
			{tenant.Waking, tenant.Waking, tenant.Waking, tenant.Waking},
			{tenant.Awake, tenant.Waking, tenant.Waking, tenant.Waking},
			{tenant.Awake, tenant.Waking, tenant.Awake, tenant.Waking},
			{tenant.Awake, tenant.Waking, tenant.Awake, tenant.Awake},
			{tenant.Awake, tenant.Awake, tenant.Awake, tenant.Awake},
		} {
			for j, id := range ids {
				if s := w.state(id, want[j]); s.State == tenant.Waking && w.systemd.Active(id) == "activating" && i == 0 && j > 0 {
					t.Errorf("%s has begun to start, want one at a time", id)
				}
			}
			time.Sleep(time.Second)
		}
	})
}

func TestWakeThatNobodyWaitsForDoesNotBegin(t *testing.T) {
	bubble(t, few(1, "startup_timeout = 30"), func(t *testing.T, w *world) {
		w.register(bob)
		w.systemd.SetApp(bob, lifecycletest.App{Refusal: exits})
		if _, err := w.request(bob); err == nil {
			t.Fatal("bob started")
		}
		before := w.state(bob, tenant.Asleep)
		w.register(alice)
		w.systemd.SetApp(alice, slow)
		w.systemd.SetApp(bob, slow)
		w.visit(t.Context(), alice, person)
		first, cancelFirst := context.WithCancel(t.Context())
		second, cancelSecond := context.WithCancel(t.Context())
		defer cancelSecond()
		one, two := w.visit(first, bob, person), w.visit(second, bob, person)
		w.queued(1, 1)
		cancelFirst()
		code(t, <-one, tenant.CodeUnavailable)
		w.queued(1, 1) // somebody waits still
		cancelSecond()
		code(t, <-two, tenant.CodeUnavailable)
		w.queued(0, 1)
		if s := w.state(bob, tenant.Asleep); s.Reason != before.Reason || s.InFlight != 0 {
			t.Errorf("got reason %q, %d in flight, want %q and 0", s.Reason, s.InFlight, before.Reason)
		}
		w.starts(bob, 2)
		// Who comes at the very moment at which the last one leaves is served.
		third, cancelThird := context.WithCancel(t.Context())
		three := make(chan error, 1)
		go func() { _, _, err := w.manager.Acquire(third, bob, person); three <- err }()
		synctest.Wait()
		cancelThird()
		w.served(bob, 3)
		code(t, <-three, tenant.CodeUnavailable)
		w.state(alice, tenant.Awake)
	})
}

// Tenants that hang while they start keep nobody else from starting.
func TestStartsThatHangBlockNobody(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idle = func() float64 { return 0.9 }
		w.start(parse(t, few(2, "startup_timeout = 60")))
		<-w.manager.Ready()
		w.register(alice)
		ids := w.many(8, lifecycletest.App{NeverReady: true})
		w.systemd.SetApp(alice, slow)
		for _, id := range ids {
			w.visit(t.Context(), id, person)
		}
		begun := time.Now()
		w.served(alice, 2)
		if took := time.Since(begun); took > 4*time.Second {
			t.Errorf("served after %v behind eight that hang for 60s, want seconds", took)
		}
		if took := time.Since(begun); took < 1500*time.Millisecond {
			t.Errorf("served after %v, want that it had to wait for a place at all", took)
		}
	})
}

func TestThawsNeedNoPlace(t *testing.T) {
	bubble(t, few(1, "doze_timeout = 10\nidle_timeout = 100000\nstartup_timeout = 1000"), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.register(bob)
		w.systemd.SetApp(bob, lifecycletest.App{NeverReady: true})
		time.Sleep(10 * time.Second)
		w.state(alice, tenant.Dozing)
		w.visit(t.Context(), bob, person)
		w.queued(0, 1)
		begun := time.Now()
		w.served(alice, 1)
		since(t, begun, 0)
	})
}

func TestRequestsBeyondTheHall(t *testing.T) {
	text := strings.Replace(few(1, ""), "settings.data_dir", "settings.max_waiting = 20\nsettings.data_dir", 1)
	bubble(t, text, func(t *testing.T, w *world) {
		ids := w.many(30, slow)
		refused := 0
		var ends []<-chan error
		for _, id := range ids {
			end := w.visit(t.Context(), id, person)
			select {
			case err := <-end:
				refused++
				var e *tenant.Error
				if !errors.As(err, &e) || e.Code != tenant.CodeUnavailable || e.RetryAfter == 0 || !strings.Contains(e.Msg, "10 requests wait") {
					t.Fatalf("got %v, want it refused for now, with the number of those who wait", err)
				}
				w.state(id, tenant.Asleep)
			default:
				ends = append(ends, end)
			}
		}
		if refused != 20 {
			t.Errorf("got %d of 30 refused, want 20: one service fills half of the hall", refused)
		}
		if _, err := w.manager.Wake(t.Context(), ids[29]); err != nil {
			t.Errorf("a command was not let in: %v", err)
		}
		for _, end := range ends {
			if err := <-end; err != nil {
				t.Error(err)
			}
		}
		if _, held := w.manager.Queue(); held != 0 {
			t.Errorf("got %d held at the end, want none", held)
		}
	})
}

func TestMaxInFlight(t *testing.T) {
	bubble(t, notes("max_in_flight = 3"), func(t *testing.T, w *world) {
		w.spawn(alice)
		for range 3 {
			w.acquire(alice)
		}
		_, _, err := w.manager.Acquire(t.Context(), alice, person)
		code(t, err, tenant.CodeUnavailable)
	})
}

// What the configuration lists starts in any case, but after what people ask for.
func TestConfiguredInstancesStartAfterPeople(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.systemd.SetApp(tenant.ID{}, slow)
		w.start(parse(t, few(1, "on_demand = true\nmax_instances = 10")+"\n[instances]\nnotes = [\"a\", \"b\", \"c\"]\n"))
		<-w.manager.Ready()
		synctest.Wait()
		begun := time.Now()
		if err := <-w.visit(t.Context(), alice, person); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("served after %v, want before the configured ones have all started", took)
		}
		time.Sleep(5 * time.Second)
		for _, name := range []string{"a", "b", "c"} {
			w.state(tenant.ID{Service: "notes", Name: name}, tenant.Awake)
		}
	})
}
