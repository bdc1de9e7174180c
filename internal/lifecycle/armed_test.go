package lifecycle_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

// marks are lifecycle.Marks in memory.
type marks struct {
	mu    sync.Mutex
	set   map[tenant.ID]string
	fault error // of the next Set
}

func newMarks() *marks { return &marks{set: map[tenant.ID]string{}} }

func (m *marks) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = err
}

func (m *marks) Set(id tenant.ID, fingerprint string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fault; err != nil {
		m.fault = nil
		return err
	}
	m.set[id] = fingerprint
	return nil
}

func (m *marks) Clear(id tenant.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.set, id)
	return nil
}

func (m *marks) Get(id tenant.ID) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.set[id], nil
}

func (m *marks) All() ([]tenant.ID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.set)), nil
}

// arming is bubble with sleepers that are armed, n at most.
func arming(t *testing.T, n int, more string, f func(t *testing.T, w *world, m *marks, mem *memory)) {
	t.Helper()
	fakeclock.Test(t, func(t *testing.T) {
		w, m, mem := newWorld(t), newMarks(), &memory{stalls: make(chan struct{}, 1)}
		w.marks, w.memory = m, mem
		w.start(parse(t, armedNotes(n, more)))
		<-w.manager.Ready()
		f(t, w, m, mem)
	})
}

func armedNotes(n int, more string) string {
	return strings.Replace(notes(more), "[settings]\n", fmt.Sprintf("[settings]\narmed = %d\n", n), 1)
}

// soon is by when a sleeper is armed that nothing keeps from it.
const soon = 5 * time.Second

// armed waits until nothing moves any more and checks whether an instance sleeps armed.
func (w *world) armed(id tenant.ID, want bool) {
	w.t.Helper()
	s := w.state(id, tenant.Asleep)
	active := w.systemd.Active(id)
	if s.Armed != want || (active == "active") != want {
		w.t.Fatalf("%s: got armed %v and ActiveState %q, want armed %v", id, s.Armed, active, want)
	}
	fingerprint, _ := w.marks.Get(id)
	if (fingerprint != "") != want {
		w.t.Fatalf("%s: got mark %q, want armed %v", id, fingerprint, want)
	}
}

func TestSleepersAreArmed(t *testing.T) {
	arming(t, 64, "idle_timeout = 10", func(t *testing.T, w *world, _ *marks, _ *memory) {
		w.systemd.SetApp(tenant.ID{}, lifecycletest.App{Boot: 30 * time.Millisecond, Ready: 50 * time.Millisecond})
		w.spawn(alice)
		time.Sleep(11 * time.Second)
		w.armed(alice, false) // not yet: it may be stopped only to be started again
		time.Sleep(soon)
		w.armed(alice, true)
		w.starts(alice, 2)
		for range 3 {
			begun := time.Now()
			e, release := w.acquire(alice)
			since(t, begun, 50*time.Millisecond)
			if woke := e.Woke(); woke == nil || woke.Kind != tenant.WakeArmed || woke.UnitStart != 0 || woke.AppReady != 50*time.Millisecond {
				t.Errorf("got wake %+v, want one that starts the app alone", woke)
			}
			w.state(alice, tenant.Awake)
			release()
			w.served(alice, w.systemd.Starts(alice))
			time.Sleep(10*time.Second + soon)
			w.armed(alice, true)
		}
		w.starts(alice, 5) // once when it was created, and then each time that it was armed
		if s := w.state(alice, tenant.Asleep); s.Wakes != 4 || s.Restarts != 0 {
			t.Errorf("got %d wakes and %d restarts, want 4 and none", s.Wakes, s.Restarts)
		}
	})
}

func TestTheMostRecentAreArmed(t *testing.T) {
	id := func(i int) tenant.ID { return tenant.ID{Service: "notes", Name: fmt.Sprint("t", i)} }
	arming(t, 2, "", func(t *testing.T, w *world, _ *marks, _ *memory) {
		check := func(want ...int) {
			t.Helper()
			time.Sleep(2 * soon)
			for i := range 4 {
				w.armed(id(i), slices.Contains(want, i))
			}
		}
		for i := range 4 {
			w.register(id(i))
			time.Sleep(time.Second)
		}
		check(2, 3)
		w.served(id(0), 2)
		_, err := w.manager.Stop(t.Context(), id(0))
		if err != nil {
			t.Fatal(err)
		}
		check(0, 3)
		w.restart(parse(t, armedNotes(3, "")))
		check(0, 2, 3)
		w.manager.SetConfig(parse(t, armedNotes(0, "")))
		check()
		w.served(id(3), 3)
	})
}

// How many is the machine's memory's to say, where nobody does.
func TestArmedByMemory(t *testing.T) {
	arming(t, 64, "max_instances = 500", func(t *testing.T, w *world, _ *marks, mem *memory) {
		const sleepers = 300
		for i := range sleepers {
			w.register(tenant.ID{Service: "notes", Name: fmt.Sprint("t", i)})
		}
		for _, c := range []struct {
			setting string
			memory  int64
			want    int
		}{
			{"", 0, 64}, // nobody knows
			{"", 512 << 20, 64},
			{"", 1 << 30, 64},
			{"", 65 * 16 << 20, 65},
			{"", 4 << 30, 256},
			{"", 64 << 30, 256},
			{"armed = 3", 64 << 30, 3},
			{"armed = 0", 64 << 30, 0},
			{"armed = 257", 1 << 30, 257},
		} {
			mem.setTotal(c.memory)
			w.manager.SetConfig(parse(t, strings.Replace(notes("max_instances = 500"), "[settings]\n", "[settings]\n"+c.setting+"\n", 1)))
			time.Sleep(time.Minute)
			armed := 0
			for _, s := range w.manager.List() {
				if s.Armed {
					armed++
				}
			}
			if armed != c.want {
				t.Errorf("%q with %d MiB: got %d armed, want %d", c.setting, c.memory>>20, armed, c.want)
			}
		}
	})
}

// A daemon that starts and knows many has those set up that somebody has used.
func TestNeverUsedIsNotArmed(t *testing.T) {
	arming(t, 64, "", func(t *testing.T, w *world, _ *marks, _ *memory) {
		w.register(alice)
		w.stop()
		if _, err := w.store.Add(t.Context(), registry.Instance{ID: bob, Created: time.Now()}); err != nil {
			t.Fatal(err)
		}
		w.start(parse(t, armedNotes(64, "")))
		<-w.manager.Ready()
		time.Sleep(soon)
		w.armed(alice, true)
		w.armed(bob, false)
		w.served(bob, 1)
		if _, err := w.manager.Stop(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
		time.Sleep(soon)
		w.armed(bob, true)
	})
}

func TestArmedAreAdopted(t *testing.T) {
	text := armedNotes(64, "")
	arming(t, 64, "", func(t *testing.T, w *world, m *marks, _ *memory) {
		w.register(alice, bob)
		time.Sleep(soon)
		w.armed(alice, true)
		w.armed(bob, true)
		asleep := w.get(alice).Since
		w.restart(parse(t, text))
		w.armed(alice, true)
		if got := w.get(alice).Since; !got.Equal(asleep) {
			t.Errorf("got it asleep since %v, want still %v", got, asleep)
		}
		w.starts(alice, 2)
		time.Sleep(time.Minute)
		e, release := w.acquire(alice)
		if woke := e.Woke(); woke == nil || woke.Kind != tenant.WakeArmed {
			t.Errorf("got wake %+v, want an armed one", woke)
		}
		release()
		w.served(alice, 2)

		// Nobody has armed it: it only says so.
		w.stop()
		m.Clear(bob)
		w.start(parse(t, text))
		<-w.manager.Ready()
		w.armed(bob, false)
		w.state(alice, tenant.Awake)

		// What was armed for another configuration is of no use.
		time.Sleep(2 * time.Minute)
		w.armed(bob, true)
		starts := w.systemd.Starts(bob)
		w.restart(parse(t, armedNotes(64, "env.NEW = \"1\"")))
		time.Sleep(soon)
		w.armed(bob, true)
		w.starts(bob, starts+1)
		w.manager.SetConfig(parse(t, armedNotes(64, "env.NEW = \"2\"")))
		time.Sleep(2 * soon)
		w.armed(bob, true)
		w.starts(bob, starts+2)
		w.served(bob, starts+2)

		// A mark of one that does not run is none.
		w.stop()
		m.Set(tenant.ID{Service: "notes", Name: "gone"}, "x")
		w.start(parse(t, text))
		<-w.manager.Ready()
		if all, _ := m.All(); len(all) != 0 {
			t.Errorf("got marks of %v, want none", all)
		}
	})
}

// The end of what had no app is no failure, and nothing to repeat at once.
func TestArmedThatEnds(t *testing.T) {
	arming(t, 64, "", func(t *testing.T, w *world, _ *marks, _ *memory) {
		w.register(alice)
		time.Sleep(soon)
		for _, end := range []func(tenant.ID){w.systemd.Crash, w.systemd.StopUnit, w.systemd.OutOfMemory} {
			w.armed(alice, true)
			starts := w.systemd.Starts(alice)
			end(alice)
			w.armed(alice, false)
			time.Sleep(50 * time.Second)
			w.starts(alice, starts)
			why, err := w.manager.Why(alice)
			if err != nil || why.Failures != 0 || why.Restarts != 0 {
				t.Errorf("got %d failures and %d restarts, %v, want none", why.Failures, why.Restarts, err)
			}
			w.served(alice, starts+1)
			if _, err := w.manager.Stop(t.Context(), alice); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
		}
		// Without a doorbell nobody could wake it.
		w.armed(alice, true)
		w.systemd.DropDoorbell(alice)
		time.Sleep(30*time.Second + soon)
		w.armed(alice, true)
		w.served(alice, w.systemd.Starts(alice))
	})
}

func TestArmingThatFails(t *testing.T) {
	for name, app := range map[string]lifecycletest.App{
		"unit":     {UnitFails: true},
		"no reply": {Mute: true},
	} {
		t.Run(name, func(t *testing.T) {
			arming(t, 64, "", func(t *testing.T, w *world, _ *marks, _ *memory) {
				w.register(alice)
				w.systemd.SetApp(alice, app)
				time.Sleep(50 * time.Second)
				w.armed(alice, false)
				if got := w.systemd.Starts(alice); got > 5 {
					t.Errorf("got %d starts", got)
				}
				if why, err := w.manager.Why(alice); err != nil || why.Failures != 0 {
					t.Errorf("got %d failures, %v, want none", why.Failures, err)
				}
				w.systemd.SetApp(alice, lifecycletest.App{})
				w.served(alice, w.systemd.Starts(alice)+1)
			})
		})
	}
	t.Run("mark", func(t *testing.T) {
		arming(t, 64, "", func(t *testing.T, w *world, m *marks, _ *memory) {
			w.register(alice)
			m.fail(errors.New("disk full"))
			time.Sleep(soon)
			w.armed(alice, false)
			time.Sleep(2 * time.Minute)
			w.armed(alice, true)
		})
	})
	t.Run("app that fails", func(t *testing.T) {
		arming(t, 64, "", func(t *testing.T, w *world, _ *marks, _ *memory) {
			w.register(alice)
			w.systemd.SetApp(alice, lifecycletest.App{NeverReady: true})
			time.Sleep(soon)
			w.armed(alice, true)
			_, err := w.request(alice)
			code(t, err, tenant.CodeStartTimeout)
			if why, err := w.manager.Why(alice); err != nil || why.Failures != 1 {
				t.Errorf("got %d failures, %v, want 1", why.Failures, err)
			}
		})
	})
}

func TestArmedAndOperators(t *testing.T) {
	arming(t, 64, "", func(t *testing.T, w *world, _ *marks, _ *memory) {
		w.register(alice, bob)
		time.Sleep(soon)
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.armed(alice, true) // it sleeps
		if _, err := w.manager.Restart(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.state(alice, tenant.Awake)
		w.starts(alice, 2)
		if _, err := w.manager.Restart(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.starts(alice, 3)
		if _, err := w.manager.Pause(t.Context(), bob, "", 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.armed(bob, false)
		if err := w.manager.Destroy(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
		w.active(bob, "")
	})
	arming(t, 64, "", func(t *testing.T, w *world, m *marks, _ *memory) {
		w.register(alice)
		time.Sleep(soon)
		w.armed(alice, true)
		if err := w.manager.Destroy(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.active(alice, "")
		if all, _ := m.All(); len(all) > 0 {
			t.Errorf("got marks of %v", all)
		}
	})
}

// Armed instances are the first to give their memory back, and none is armed meanwhile.
func TestArmedWhenMemoryIsShort(t *testing.T) {
	arming(t, 64, "idle_timeout = 3600", func(t *testing.T, w *world, _ *marks, mem *memory) {
		w.spawn(bob)
		w.register(alice)
		time.Sleep(soon)
		w.armed(alice, true)
		mem.set("of the test")
		mem.stall()
		w.armed(alice, false)
		w.state(bob, tenant.Awake)
		mem.set("")
		time.Sleep(50 * time.Second)
		w.armed(alice, false)
		time.Sleep(20 * time.Second)
		w.armed(alice, true)
	})
}

// Nobody is armed while somebody waits for a start.
func TestArmingWaitsForStarts(t *testing.T) {
	arming(t, 64, "", func(t *testing.T, w *world, _ *marks, _ *memory) {
		w.register(alice)
		w.systemd.SetApp(bob, lifecycletest.App{Ready: 8 * time.Second})
		go w.manager.Spawn(t.Context(), bob)
		time.Sleep(7 * time.Second)
		w.armed(alice, false)
		time.Sleep(soon)
		w.armed(alice, true)

		// Nor is anybody looked at who is armed.
		if _, err := w.manager.Stop(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
		go w.manager.Spawn(t.Context(), bob)
		time.Sleep(time.Second)
		w.manager.SetConfig(parse(t, armedNotes(0, "")))
		time.Sleep(5 * time.Second)
		w.armed(alice, true)
		time.Sleep(soon)
		w.armed(alice, false)
	})
}

// A ten-init of a tenant's own may say that it is armed; that does not let it work unseen.
func TestPretenders(t *testing.T) {
	text := armedNotes(64, "idle_timeout = 60")
	arming(t, 64, "idle_timeout = 60", func(t *testing.T, w *world, _ *marks, _ *memory) {
		w.systemd.SetApp(alice, lifecycletest.App{Pretends: true})
		w.spawn(alice)
		w.restart(parse(t, text))
		w.armed(alice, false)
		time.Sleep(2 * time.Minute)
		w.armed(alice, true)
		w.cpu.burn(alice, 0.5)
		time.Sleep(70 * time.Second)
		w.armed(alice, false)
		time.Sleep(30 * time.Minute)
		w.armed(alice, false)
	})
}
