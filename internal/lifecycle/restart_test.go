package lifecycle_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
)

// get gives the instance as it is known at this moment.
func (w *world) get(id tenant.ID) tenant.Snapshot {
	w.t.Helper()
	s, err := w.manager.Get(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// An app that starts well and ends soon after is braked as one that does not start.
func TestCrashLoop(t *testing.T) {
	for _, policy := range []string{"always", "on-failure"} {
		text := strings.Replace(notes("restart = \""+policy+"\"\n"), "[settings]\n", "[settings]\nmax_restarts = 4\nbackoff_max_ms = 3000\n", 1)
		bubble(t, text, func(t *testing.T, w *world) {
			w.spawn(alice)
			for i, delay := range []time.Duration{0, 1, 2, 3} {
				time.Sleep(time.Second)
				w.state(alice, tenant.Awake)
				w.starts(alice, i+1)
				w.systemd.Crash(alice)
				if delay > 0 {
					time.Sleep(delay*time.Second - time.Millisecond)
					if s := w.state(alice, tenant.Asleep); s.Reason == "" {
						t.Error("got no reason while it waits for its restart")
					}
					w.starts(alice, i+1)
				}
				time.Sleep(5 * time.Millisecond)
				w.state(alice, tenant.Awake)
			}
			w.systemd.Crash(alice)
			w.state(alice, tenant.Failed)
			time.Sleep(time.Hour)
			w.state(alice, tenant.Failed)
			w.starts(alice, 5)
		})
	}
}

// A start that fails within a restart is followed by the next, without any request.
func TestRestartThatFailsIsRepeated(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.systemd.SetApp(alice, lifecycletest.App{Refusal: exits})
		w.systemd.Crash(alice)
		time.Sleep(1500 * time.Millisecond)
		w.systemd.SetApp(alice, lifecycletest.App{})
		time.Sleep(5 * time.Second)
		if s := w.state(alice, tenant.Awake); s.Restarts != 3 {
			t.Errorf("got %d restarts, want 3", s.Restarts)
		}
		// A stop in between ends it.
		w.systemd.Crash(alice)
		time.Sleep(time.Second)
		w.systemd.SetApp(bob, lifecycletest.App{})
		w.spawn(bob)
		w.systemd.Crash(bob)
		time.Sleep(10 * time.Millisecond)
		w.systemd.Crash(bob)
		w.state(bob, tenant.Asleep)
		if _, err := w.manager.Stop(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		w.state(bob, tenant.Asleep)
	})
}

// What has failed survives sleep and the daemon.
func TestFailuresAreRemembered(t *testing.T) {
	text := strings.Replace(notes("idle_timeout = 20\n"), "[settings]\n", "[settings]\nmax_restarts = 2\n", 1)
	bubble(t, text, func(t *testing.T, w *world) {
		w.spawn(alice)
		w.systemd.Crash(alice)
		time.Sleep(time.Minute) // it was started again and sleeps
		w.state(alice, tenant.Asleep)
		w.restart(parse(t, text))
		w.served(alice, 3)
		w.systemd.Crash(alice) // the second in the window
		w.state(alice, tenant.Asleep)
		w.restart(parse(t, text))
		if s := w.state(alice, tenant.Asleep); s.Restarts != 2 {
			t.Errorf("got %d restarts, want 2", s.Restarts)
		}
		w.served(alice, 4)
		w.systemd.Crash(alice)
		s := w.state(alice, tenant.Failed)
		w.restart(parse(t, text))
		if again := w.state(alice, tenant.Failed); again.Reason != s.Reason || s.Reason == "" || again.Restarts != s.Restarts {
			t.Errorf("got %+v, want %+v as before", again, s)
		}
		_, err := w.request(alice)
		code(t, err, tenant.CodeFailed)
		var e *tenant.Error
		if !errors.As(err, &e) || e.RetryAfter < time.Minute {
			t.Errorf("got it retried after %v, want a time in which a person sees to it", e.RetryAfter)
		}
		if _, err := w.manager.Wake(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.restart(parse(t, text))
		w.served(alice, 5)
	})
}

// Those that shall be up are tried again without a request, and not for ever.
func TestConfiguredInstancesAreTriedAgain(t *testing.T) {
	text := notes("") + "[instances]\nnotes = [\"alice\", \"bob\"]\n"
	synctestWorld(t, func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Refusal: exits})
		w.systemd.SetApp(bob, lifecycletest.App{Refusal: exits})
		w.start(parse(t, text))
		<-w.manager.Ready()
		time.Sleep(500 * time.Millisecond)
		w.systemd.SetApp(alice, lifecycletest.App{})
		time.Sleep(time.Minute)
		w.state(alice, tenant.Awake)
		w.state(bob, tenant.Failed)
		w.starts(bob, 4)
		w.restart(parse(t, text))
		w.state(bob, tenant.Failed)
		w.starts(bob, 4)
		w.starts(alice, w.systemd.Starts(alice))
	})
}

// Commands start what brakes, and their failures count too: one that is spawned again and
// again is failed like another, and stays so until a start succeeds.
func TestFailuresOfCommandsCount(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Refusal: exits})
		for i := range 6 {
			_, _, err := w.manager.Spawn(t.Context(), alice)
			code(t, err, tenant.CodeStartFailed)
			want := tenant.Asleep
			if i >= 3 { // max_restarts
				want = tenant.Failed
			}
			if s := w.state(alice, want); s.Failing != (want == tenant.Asleep) {
				t.Errorf("spawn %d: got failing %v in state %v", i, s.Failing, s.State)
			}
			w.starts(alice, i+1)
		}
		time.Sleep(10 * time.Minute) // longer than restart_window
		_, err := w.manager.Restart(t.Context(), alice)
		code(t, err, tenant.CodeStartFailed)
		w.state(alice, tenant.Failed)

		w.systemd.SetApp(alice, lifecycletest.App{})
		if _, err := w.manager.Restart(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		for range 3 { // as many as one without failures may have
			w.systemd.Crash(alice)
			time.Sleep(10 * time.Second)
			w.state(alice, tenant.Awake)
		}
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		if s := w.state(alice, tenant.Asleep); s.Failing {
			t.Error("one that was stopped is said to be failing")
		}
	})
}

// A request that is held for a start again does not wait for one of a daemon that ends.
func TestDaemonEndsBeforeTheRestart(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(alice)
		for range 2 {
			w.systemd.Crash(alice)
			time.Sleep(100 * time.Millisecond)
		}
		w.state(alice, tenant.Asleep)
		answered := make(chan error, 1)
		go func() {
			_, err := w.request(alice)
			answered <- err
		}()
		synctest.Wait()
		begun := time.Now()
		w.stop()
		code(t, <-answered, tenant.CodeUnavailable)
		since(t, begun, 0)
	})
}
