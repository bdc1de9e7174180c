package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/lifecycle"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

func TestSpawnTwiceIsOneProcess(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, slow)
		var wg sync.WaitGroup
		created := make(chan bool, 10)
		for range 10 {
			wg.Go(func() {
				s, c, err := w.manager.Spawn(t.Context(), alice)
				if err != nil || s.State != tenant.Awake {
					t.Errorf("got %v, %v, want it awake", s.State, err)
				}
				created <- c
			})
		}
		wg.Wait()
		close(created)
		n := 0
		for c := range created {
			if c {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d of 10 created it, want 1", n)
		}
		w.starts(alice, 1)
	})
}

func TestSpawnOfWhatCannotRunLeavesNothing(t *testing.T) {
	bubble(t, notes("max_instances = 1"), func(t *testing.T, w *world) {
		w.systemd.Fail("load", &tenant.Error{Code: tenant.CodeUnsupported, Op: "load", ID: alice, Msg: "no memory controller"})
		_, created, err := w.manager.Spawn(t.Context(), alice)
		code(t, err, tenant.CodeUnsupported)
		if _, ok := w.store.row(alice); ok || created || len(w.manager.List()) != 0 {
			t.Errorf("got created %t, in the registry %t, listed %v, want none of it", created, ok, w.manager.List())
		}
		w.systemd.Fail("load", &tenant.Error{Code: tenant.CodeConflict, Op: "load", ID: alice, Msg: "runs for another data directory"})
		_, _, err = w.manager.Spawn(t.Context(), alice)
		code(t, err, tenant.CodeConflict)
		if _, ok := w.store.row(alice); ok {
			t.Error("one whose name is taken is registered")
		}
		w.spawn(bob) // the place is free again
		_, _, err = w.manager.Spawn(t.Context(), alice)
		code(t, err, tenant.CodeLimit)
		_, _, err = w.manager.Spawn(t.Context(), tenant.ID{Service: "other", Name: "x"})
		code(t, err, tenant.CodeNotFound)
	})
}

func TestSpawnOfAFailingAppStaysRegistered(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Refusal: exits})
		s, created, err := w.manager.Spawn(t.Context(), alice)
		code(t, err, tenant.CodeStartFailed)
		if !created || s.State != tenant.Asleep {
			t.Errorf("got created %t, %v, want it registered and asleep", created, s.State)
		}
		w.systemd.SetApp(alice, lifecycletest.App{})
		w.served(alice, 2)
	})
}

func TestSpawnThatTheRegistryRefuses(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.store.fail("add", errors.New("disk is full"))
		_, _, err := w.manager.Spawn(t.Context(), alice)
		code(t, err, tenant.CodeInternal)
		w.starts(alice, 0)
		w.spawn(alice)
	})
}

func TestOnDemand(t *testing.T) {
	bubble(t, notes("on_demand = true\nmax_instances = 3"), func(t *testing.T, w *world) {
		w.systemd.SetApp(tenant.ID{}, slow)
		var wg sync.WaitGroup
		var mu sync.Mutex
		codes := map[tenant.Code]int{}
		for i := range 60 {
			wg.Go(func() {
				_, err := w.request(tenant.ID{Service: "notes", Name: fmt.Sprint("i", i%6)})
				mu.Lock()
				defer mu.Unlock()
				codes[tenant.CodeOf(err)]++
			})
		}
		wg.Wait()
		if codes[""] != 30 || codes[tenant.CodeLimit] != 30 {
			t.Errorf("got %v, want 30 served and 30 over the limit", codes)
		}
		for _, s := range w.manager.List() {
			w.starts(s.ID, 1)
		}
		if got := len(w.manager.List()); got != 3 {
			t.Errorf("got %d instances, want 3", got)
		}
	})
}

func TestStopWakesAgain(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(alice)
		for i := range 3 {
			s, err := w.manager.Stop(t.Context(), alice)
			if err != nil || s.State != tenant.Asleep {
				t.Fatalf("got %v, %v, want it asleep", s.State, err)
			}
			if s, err = w.manager.Stop(t.Context(), alice); err != nil || s.State != tenant.Asleep {
				t.Fatalf("again: got %v, %v, want it asleep", s.State, err)
			}
			w.served(alice, i+2)
		}
		if got := w.systemd.Wipes(alice); got != 0 {
			t.Errorf("data was removed %d times, want never", got)
		}
	})
}

func TestStopRemovesDataThatShallNotPersist(t *testing.T) {
	bubble(t, notes("storage_persist = false\nidle_timeout = 5"), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.systemd.Crash(alice)
		w.served(alice, 2)
		time.Sleep(10 * time.Second)
		w.state(alice, tenant.Asleep)
		w.served(alice, 3)
		if got := w.systemd.Wipes(alice); got != 0 {
			t.Errorf("a crash or sleep has removed data %d times", got)
		}
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		if got := w.systemd.Wipes(alice); got != 1 || w.systemd.WipedAll(alice) {
			t.Errorf("data was removed %d times, want once, and not what restores have kept", got)
		}
		w.served(alice, 4)
	})
}

func TestDestroy(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(alice)
		if err := w.manager.Destroy(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		_, err := w.request(alice)
		code(t, err, tenant.CodeNotFound)
		code(t, w.manager.Destroy(t.Context(), alice), tenant.CodeNotFound)
		w.active(alice, "")
		if _, ok := w.store.row(alice); ok || w.systemd.Wipes(alice) != 1 {
			t.Errorf("got registered %t, %d wipes, want neither row nor data", ok, w.systemd.Wipes(alice))
		}
		if !w.systemd.WipedAll(alice) {
			t.Error("what restores have kept is still there")
		}
		w.spawn(alice)
		w.served(alice, 2)
	})
}

// A destroy that fails half way leaves an instance that works and can be destroyed.
func TestDestroyThatFails(t *testing.T) {
	for _, op := range []string{"unload", "wipe", "remove"} {
		t.Run(op, func(t *testing.T) {
			bubble(t, notes(""), func(t *testing.T, w *world) {
				w.spawn(alice)
				if op == "remove" {
					w.store.fail(op, errors.New("disk is full"))
				} else {
					w.systemd.Fail(op, errors.New("bus is busy"))
				}
				if err := w.manager.Destroy(t.Context(), alice); err == nil {
					t.Fatal("got no error")
				}
				if _, err := w.request(alice); err != nil {
					t.Fatal(err)
				}
				if err := w.manager.Destroy(t.Context(), alice); err != nil {
					t.Fatal(err)
				}
				w.active(alice, "")
			})
		})
	}
}

// On a full disk the registry cannot be written before the data is gone.
func TestDestroyMakesRoom(t *testing.T) {
	bubble(t, "[settings]\nport_range = \"21240-21241\"\n[service.notes]\ncommand = \"/bin/true\"\n", func(t *testing.T, w *world) {
		w.spawn(alice)
		row, _ := w.store.row(alice)
		w.store.fail("setport", errors.New("no space left"))
		if err := w.manager.Destroy(t.Context(), alice); err != nil || w.systemd.Wipes(alice) != 1 {
			t.Fatalf("got %v and %d wipes, want the data gone without a word to the registry before", err, w.systemd.Wipes(alice))
		}
		w.store.fail("setport", nil)
		w.spawn(bob)
		if _, ok := w.store.row(alice); ok || row.Port == 0 {
			t.Errorf("got registered %t, port %d, want one that had a port and is gone", ok, row.Port)
		}
	})
}

// Whatever operators do meanwhile, each request is served or told why not.
func TestOperationsAmongRequests(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Ready: 20 * time.Millisecond, Serve: time.Millisecond, Stop: 5 * time.Millisecond})
		w.spawn(alice)
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 7 * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, release, err := w.manager.Acquire(ctx, alice, tenant.Visit{})
				if c := tenant.CodeOf(err); err != nil && c != tenant.CodeNotFound && c != tenant.CodeUnavailable {
					t.Errorf("request %d: %v", i, err)
				}
				if err == nil {
					release()
				}
			})
		}
		for i := range 12 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 17 * time.Millisecond)
				var err error
				switch i % 4 {
				case 0:
					_, err = w.manager.Stop(t.Context(), alice)
				case 1:
					_, err = w.manager.Restart(t.Context(), alice)
				case 2:
					err = w.manager.Destroy(t.Context(), alice)
				case 3:
					_, _, err = w.manager.Spawn(t.Context(), alice)
				}
				if c := tenant.CodeOf(err); err != nil && c != tenant.CodeNotFound {
					t.Errorf("operation %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if _, _, err := w.manager.Spawn(t.Context(), alice); err != nil {
			t.Error(err)
		}
		if s := w.state(alice, tenant.Awake); s.InFlight != 0 {
			t.Errorf("got %d in flight, want 0", s.InFlight)
		}
	})
}

func TestOnlyTheLatestSleepersKeepTheirDoorbell(t *testing.T) {
	id := func(i int) tenant.ID { return tenant.ID{Service: "notes", Name: fmt.Sprint("i", i)} }
	bubble(t, notes(""), func(t *testing.T, w *world) {
		for i := range 100 {
			w.register(id(i))
			time.Sleep(time.Second)
		}
		if got := w.systemd.Doorbells(); got != 64 {
			t.Errorf("got %d doorbells, want 64", got)
		}
		w.active(id(35), "")
		w.active(id(36), "inactive")
		w.served(id(0), 2) // loaded again
		w.served(id(36), 2)
		if _, err := w.manager.Stop(t.Context(), id(36)); err != nil {
			t.Fatal(err)
		}
		w.active(id(36), "inactive")
		w.active(id(37), "inactive")
	})
}

// Instances that fail to start are sleepers too.
func TestFailingInstancesDoNotPileUpDoorbells(t *testing.T) {
	text := "[settings]\ndoorbells = 5\nmax_restarts = 1\n[service.notes]\ncommand = \"/bin/true\"\nlisten = \"unix\"\n"
	bubble(t, text, func(t *testing.T, w *world) {
		w.systemd.SetApp(tenant.ID{}, lifecycletest.App{Refusal: exits})
		for i := range 20 {
			id := tenant.ID{Service: "notes", Name: fmt.Sprint("i", i)}
			_, _, err := w.manager.Spawn(t.Context(), id)
			code(t, err, tenant.CodeStartFailed)
			if i%2 == 0 {
				_, err := w.request(id)
				code(t, err, tenant.CodeStartFailed)
				w.state(id, tenant.Failed)
			}
		}
		time.Sleep(time.Second)
		if got := w.systemd.Doorbells(); got > 5 {
			t.Errorf("got %d doorbells, want 5 at most", got)
		}
	})
}

func TestConfiguredInstancesStartAlthoughOneFails(t *testing.T) {
	text := notes("") + "[instances]\nnotes = [\"alice\", \"bad\", \"bob\"]\n"
	bubble(t, text, func(t *testing.T, w *world) {
		w.systemd.SetApp(tenant.ID{Service: "notes", Name: "bad"}, lifecycletest.App{Refusal: exits})
		time.Sleep(time.Second)
		w.state(alice, tenant.Awake)
		w.state(bob, tenant.Awake)
	})
}

// Who asks for a listed instance as soon as the daemon is ready, or has taken the configuration
// that lists it, gets it, also where nothing else makes instances.
func TestListedAreKnownAtOnce(t *testing.T) {
	const listed = "[instances]\nnotes = [\"alice\"]\n"
	bubble(t, notes(listed), func(t *testing.T, w *world) {
		if _, err := w.request(alice); err != nil {
			t.Error(err)
		}
		w.manager.SetConfig(parse(t, notes("[instances]\nnotes = [\"alice\", \"bob\"]\n")))
		if _, err := w.request(bob); err != nil {
			t.Error(err)
		}
	})
}

// Instances that come to the configuration are started, and those that were stopped by
// hand are not started again by it.
func TestListedLater(t *testing.T) {
	const listed = "[instances]\nnotes = [\"alice\"]\n"
	bubble(t, notes(listed), func(t *testing.T, w *world) {
		time.Sleep(time.Second)
		w.state(alice, tenant.Awake)
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.manager.SetConfig(parse(t, notes("[instances]\nnotes = [\"alice\", \"bob\"]\n")))
		time.Sleep(time.Second)
		w.state(bob, tenant.Awake)
		w.state(alice, tenant.Asleep)
		w.manager.SetConfig(parse(t, notes(listed)))
		time.Sleep(time.Second)
		w.state(bob, tenant.Awake) // who leaves it goes on
	})
}

// Where systemd does not answer, whoever destroys is told so soon, and may try again.
func TestDestroyWhileSystemdIsSilent(t *testing.T) {
	bubble(t, notes("stop_grace = 10"), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.systemd.Hang("unload")
		begun := time.Now()
		if err := w.manager.Destroy(t.Context(), alice); err == nil {
			t.Fatal("destroyed although the unit was not unloaded")
		}
		since(t, begun, 40*time.Second)
		if err := w.manager.Destroy(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.active(alice, "")
	})
}

// A daemon may be told to reload before it knows its instances.
func TestConfigBeforeRun(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		m := lifecycle.New(lifecycle.Options{Config: parse(t, notes("")), Log: slog.New(slog.DiscardHandler)})
		m.SetConfig(parse(t, notes("")+"[instances]\nnotes = [\"alice\"]\n"))
		synctest.Wait()
		if got := m.Config().Instances; len(got) != 1 {
			t.Errorf("got %v, want one instance, which Run starts", got)
		}
	})
}
