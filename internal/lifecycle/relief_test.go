package lifecycle_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

// memory is a machine's memory that a test makes short.
type memory struct {
	mu     sync.Mutex
	why    string
	total  int64
	stalls chan struct{}
}

func (m *memory) Short() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.why
}

func (m *memory) Total() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.total
}

func (m *memory) Stalls() <-chan struct{} { return m.stalls }

func (m *memory) set(why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.why = why
}

func (m *memory) setTotal(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total = bytes
}

// stall is what the kernel's trigger does; it waits for the step that follows, before
// which the CPU is looked at.
func (m *memory) stall() {
	select {
	case m.stalls <- struct{}{}:
	default:
	}
	time.Sleep(300 * time.Millisecond)
	synctest.Wait()
}

// tight is bubble with a machine whose memory the test has in hand.
func tight(t *testing.T, text string, f func(t *testing.T, w *world, mem *memory)) {
	t.Helper()
	fakeclock.Test(t, func(t *testing.T) {
		w := newWorld(t)
		mem := &memory{stalls: make(chan struct{}, 1)}
		w.memory = mem
		w.start(parse(t, text))
		<-w.manager.Ready()
		f(t, w, mem)
	})
}

// two services: notes may rest, and pinned was promised to stay up.
var twoServices = notes("doze_timeout = 1000\nidle_timeout = 2000\n") + "[service.pinned]\ncommand = \"/bin/true\"\nlisten = \"unix\"\n"

func TestMemoryIsGivenBackStepByStep(t *testing.T) {
	tight(t, twoServices, func(t *testing.T, w *world, mem *memory) {
		carol := tenant.ID{Service: "notes", Name: "carol"}
		busy := tenant.ID{Service: "notes", Name: "busy"}
		pinned := tenant.ID{Service: "pinned", Name: "one"}
		w.spawn(pinned)
		time.Sleep(time.Second)
		for _, id := range []tenant.ID{busy, bob, alice, carol} { // bob was used first
			w.spawn(id)
			time.Sleep(time.Second)
		}
		_, release := w.acquire(busy)
		defer release()
		time.Sleep(10 * time.Second)
		mem.stall() // stalls alone are no reason
		w.state(bob, tenant.Awake)

		mem.set("it is tried out")
		order := []struct {
			id   tenant.ID
			want tenant.State
		}{{bob, tenant.Dozing}, {alice, tenant.Dozing}, {carol, tenant.Dozing}, {bob, tenant.Asleep}, {alice, tenant.Asleep}, {carol, tenant.Asleep}}
		state := map[tenant.ID]tenant.State{bob: tenant.Awake, alice: tenant.Awake, carol: tenant.Awake, busy: tenant.Awake, pinned: tenant.Awake}
		for i, step := range order {
			mem.stall()
			state[step.id] = step.want
			for id, want := range state {
				w.state(id, want)
			}
			mem.stall() // right after a step it may be of before
			time.Sleep(5 * time.Second)
			for id, want := range state {
				w.state(id, want)
			}
			if t.Failed() {
				t.Fatalf("after step %d", i+1)
			}
		}
		mem.stall() // nothing is left
		w.state(busy, tenant.Awake)
		w.state(pinned, tenant.Awake)
		mem.set("")
		w.served(bob, 2)
	})
}

func TestReliefEndsWithTheStalls(t *testing.T) {
	tight(t, twoServices, func(t *testing.T, w *world, mem *memory) {
		w.spawn(alice, bob)
		time.Sleep(10 * time.Second)
		mem.set("x")
		mem.stall()
		time.Sleep(10 * time.Second)
		mem.set("")
		mem.stall()
		time.Sleep(10 * time.Second)
		dozing := 0
		for _, id := range []tenant.ID{alice, bob} {
			if s, _ := w.manager.Get(id); s.State == tenant.Dozing {
				dozing++
			}
		}
		if dozing != 1 {
			t.Errorf("got %d instances dozing after one stall, want one", dozing)
		}
	})
}

func TestWhatWasUsedJustNowIsLeftAlone(t *testing.T) {
	tight(t, twoServices, func(t *testing.T, w *world, mem *memory) {
		w.spawn(alice)
		mem.set("x")
		mem.stall()
		w.state(alice, tenant.Awake)
		time.Sleep(3 * time.Second)
		mem.stall()
		w.state(alice, tenant.Dozing)
	})
}

func TestWhatCannotDozeIsStopped(t *testing.T) {
	tight(t, twoServices, func(t *testing.T, w *world, mem *memory) {
		w.systemd.SetApp(alice, lifecycletest.App{CannotFreeze: true})
		w.spawn(alice, bob)
		time.Sleep(10 * time.Second)
		mem.set("x")
		for _, want := range [][2]tenant.State{ // alice's doze is refused, and that is over
			{tenant.Awake, tenant.Awake}, {tenant.Awake, tenant.Dozing}, {tenant.Awake, tenant.Asleep}, {tenant.Asleep, tenant.Asleep},
		} {
			mem.stall()
			w.state(alice, want[0])
			w.state(bob, want[1])
			time.Sleep(5 * time.Second)
		}
	})
}

// With a timeout for sleep alone it may doze all the same: that loses nothing. With one
// for doze alone it does not sleep.
func TestTimeoutsSayWhatMayBeDone(t *testing.T) {
	for timeouts, want := range map[string]tenant.State{"idle_timeout = 9000": tenant.Asleep, "doze_timeout = 9000": tenant.Dozing} {
		tight(t, notes(timeouts), func(t *testing.T, w *world, mem *memory) {
			w.spawn(alice)
			mem.set("x")
			for range 3 {
				time.Sleep(10 * time.Second)
				mem.stall()
			}
			w.state(alice, want)
		})
	}
}

func TestStartsWaitForMemory(t *testing.T) {
	tight(t, twoServices, func(t *testing.T, w *world, mem *memory) {
		w.spawn(alice)
		w.register(bob)
		time.Sleep(10 * time.Second)
		mem.set("for the test")
		end := w.visit(t.Context(), bob, person)
		// The start that waits is itself what memory is wanted for.
		w.queued(1, 0)
		time.Sleep(300 * time.Millisecond)
		w.state(alice, tenant.Dozing)
		time.Sleep(1500 * time.Millisecond)
		w.state(alice, tenant.Asleep)
		// Now nothing runs, so nothing would come back: it starts.
		if err := <-end; err != nil {
			t.Fatal(err)
		}
		w.state(bob, tenant.Awake)

		// What runs is busy: no start, until memory comes back.
		_, release := w.acquire(bob)
		defer release()
		end = w.visit(t.Context(), alice, person)
		time.Sleep(30 * time.Second)
		w.queued(1, 0)
		mem.set("")
		if err := <-end; err != nil {
			t.Fatal(err)
		}
	})
}

func TestStartsDoNotWaitForMemoryForEver(t *testing.T) {
	tight(t, twoServices, func(t *testing.T, w *world, mem *memory) {
		w.register(alice)
		w.spawn(bob)
		_, release := w.acquire(bob)
		defer release()
		mem.set("gone to the test")
		begun := time.Now()
		_, err := w.request(alice)
		code(t, err, tenant.CodeUnavailable)
		if !strings.Contains(err.Error(), "memory is short: gone to the test") {
			t.Errorf("got %v, want the reason", err)
		}
		since(t, begun, time.Minute)
		if s := w.state(alice, tenant.Asleep); s.Reason != "" {
			t.Errorf("got reason %q, want none: it has not failed", s.Reason)
		}
		mem.set("")
		w.served(alice, 2)
	})
}

// Work without a request is work: what is at it neither dozes nor stops, however long it
// was not used. What can be had from others is.
func TestJobsGoOnWhenMemoryIsShort(t *testing.T) {
	for _, cannotFreeze := range []bool{false, true} {
		tight(t, twoServices, func(t *testing.T, w *world, mem *memory) {
			w.systemd.SetApp(tenant.ID{}, lifecycletest.App{CannotFreeze: cannotFreeze})
			var jobs []tenant.ID
			for i := range 40 { // more than are looked at together
				id := tenant.ID{Service: "notes", Name: "job-" + strconv.Itoa(i)}
				jobs = append(jobs, id)
				w.spawn(id)
				w.cpu.burn(id, 0.1)
			}
			time.Sleep(10 * time.Second)
			w.spawn(bob)
			w.cpu.burn(bob, 0.02)
			time.Sleep(10 * time.Second)
			mem.set("x")
			for range 50 {
				mem.stall()
				time.Sleep(5 * time.Second)
			}
			w.state(bob, tenant.Asleep)
			for _, id := range jobs {
				w.state(id, tenant.Awake)
				w.starts(id, 1)
			}
			// A job that is done is one no longer.
			w.cpu.burn(jobs[7], 0)
			for range 4 {
				mem.stall()
				time.Sleep(11 * time.Second)
			}
			w.state(jobs[7], tenant.Asleep)
			w.state(jobs[8], tenant.Awake)
		})
	}
}

// One that is used while its CPU is looked at stays up.
func TestUsedDuringTheLook(t *testing.T) {
	tight(t, twoServices, func(t *testing.T, w *world, mem *memory) {
		w.spawn(alice)
		time.Sleep(10 * time.Second)
		mem.set("x")
		mem.stalls <- struct{}{}
		time.Sleep(100 * time.Millisecond)
		w.served(alice, 1)
		time.Sleep(time.Second)
		w.state(alice, tenant.Awake)
	})
}
