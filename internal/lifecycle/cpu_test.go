package lifecycle_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/lifecycle"
	"tenement.dev/internal/tenant"
)

// cpus is what instances use of the CPU: so many cores, from a moment on.
type cpus struct {
	mu    sync.Mutex
	jobs  map[tenant.ID]job
	looks int
	err   error
	// late is how long the next look takes.
	late time.Duration
}

type job struct {
	cores, waits float64
	since        time.Time
	base         lifecycle.CPUTime
}

// time is what a Manager is told when it looks.
func (c *cpus) time(id tenant.ID) (lifecycle.CPUTime, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	t, err, late := c.timeLocked(id), c.err, c.late
	if c.late = 0; late > 0 {
		c.mu.Unlock()
		time.Sleep(late)
		c.mu.Lock()
	}
	return t, err
}

func (c *cpus) used(id tenant.ID) (time.Duration, error) {
	t, err := c.time(id)
	return t.Used, err
}

func (c *cpus) timeLocked(id tenant.ID) lifecycle.CPUTime {
	j := c.jobs[id]
	elapsed := float64(time.Since(j.since))
	return lifecycle.CPUTime{
		Used:   j.base.Used + time.Duration(j.cores*elapsed),
		Waited: j.base.Waited + time.Duration(j.waits*elapsed),
	}
}

// burn has an instance use so many cores from now on.
func (c *cpus) burn(id tenant.ID, cores float64) { c.starve(id, cores, 0) }

// starve is burn for one that also waits for the CPU, such a share of the time.
func (c *cpus) starve(id tenant.ID, cores, waits float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jobs == nil {
		c.jobs = map[tenant.ID]job{}
	}
	c.jobs[id] = job{cores, waits, time.Now(), c.timeLocked(id)}
}

// delay has the next look take so long.
func (c *cpus) delay(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = d
}

// restart has an instance use so many cores from now on, counted from 0.
func (c *cpus) restart(id tenant.ID, cores float64) {
	c.burn(id, cores)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs[id] = job{cores, 0, time.Now(), lifecycle.CPUTime{}}
}

func (c *cpus) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// seen gives how often somebody has looked, and counts from 0 again.
func (c *cpus) seen() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.looks = 0 }()
	return c.looks
}

func TestJobKeepsItAwakeForAWhile(t *testing.T) {
	bubble(t, notes("doze_timeout = 20\nidle_timeout = 3600\nbusy_max = 300"), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.cpu.burn(alice, 0.5)
		time.Sleep(20*time.Second - time.Millisecond)
		w.holds(alice)
		time.Sleep(time.Millisecond)
		list := w.holds(alice, "cpu 0")
		if want := time.Now().Add(300 * time.Second); !list[0].Until.Equal(want) || list[0].Cores != 0.5 {
			t.Errorf("got %+v, want half a core until %v", list[0], want)
		}
		time.Sleep(300*time.Second - time.Millisecond)
		w.state(alice, tenant.Awake)
		time.Sleep(time.Millisecond)
		w.state(alice, tenant.Dozing)
		// A request gives it the time again.
		w.served(alice, 1)
		time.Sleep(319 * time.Second)
		w.state(alice, tenant.Awake)
		time.Sleep(time.Second)
		w.state(alice, tenant.Dozing)
		// While it dozes nobody looks.
		w.cpu.seen()
		time.Sleep(hour)
		w.state(alice, tenant.Asleep)
		if got := w.cpu.seen(); got != 0 {
			t.Errorf("got %d looks at a dozing instance, want none", got)
		}
	})
}

func TestJobThatEnds(t *testing.T) {
	bubble(t, notes("idle_timeout = 60"), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.cpu.burn(alice, 1)
		time.Sleep(100 * time.Second)
		w.holds(alice, "cpu 0")
		w.cpu.burn(alice, 0.01)
		time.Sleep(5 * time.Second) // the look after the next has seen nothing but quiet
		w.state(alice, tenant.Asleep)
	})
}

// One that does next to nothing, as runtimes do, rests in time, after two looks.
func TestQuietInstanceRestsInTime(t *testing.T) {
	bubble(t, notes("idle_timeout = 60"), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.cpu.burn(alice, 0.04)
		for range 100 { // busy with requests: nobody looks
			w.served(alice, 1)
			time.Sleep(time.Second)
		}
		if got := w.cpu.seen(); got != 0 {
			t.Errorf("got %d looks at a busy instance, want none", got)
		}
		time.Sleep(59*time.Second - time.Millisecond)
		w.state(alice, tenant.Awake)
		time.Sleep(time.Millisecond)
		w.state(alice, tenant.Asleep)
		if got := w.cpu.seen(); got != 2 {
			t.Errorf("got %d looks, want 2", got)
		}
	})
}

// The work of the last request does not count.
func TestBurstBeforeTheWindow(t *testing.T) {
	bubble(t, notes("doze_timeout = 20"), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.cpu.burn(alice, 4)
		time.Sleep(14 * time.Second)
		w.cpu.burn(alice, 0)
		time.Sleep(6 * time.Second)
		w.state(alice, tenant.Dozing)
	})
}

func TestNoLookWhereThereIsNoTimeForIt(t *testing.T) {
	for _, more := range []string{"idle_timeout = 60\nbusy_max = 0", "idle_timeout = \"400ms\""} {
		bubble(t, notes(more), func(t *testing.T, w *world) {
			w.spawn(alice)
			w.cpu.burn(alice, 1)
			time.Sleep(time.Minute)
			w.state(alice, tenant.Asleep)
			if got := w.cpu.seen(); got != 0 {
				t.Errorf("%s: got %d looks, want none", more, got)
			}
		})
	}
}

// A lease that ends long after the idle time is followed by a look at its end.
func TestLookAfterALease(t *testing.T) {
	bubble(t, notes("idle_timeout = 60"), func(t *testing.T, w *world) {
		w.spawn(alice)
		if _, err := w.manager.KeepAwake(t.Context(), alice, hour); err != nil {
			t.Fatal(err)
		}
		w.cpu.seen()
		time.Sleep(hour - 10*time.Second)
		if got := w.cpu.seen(); got > 2 {
			t.Errorf("got %d looks within an hour, want none that has no purpose", got)
		}
		w.cpu.burn(alice, 1)
		time.Sleep(10 * time.Second)
		w.holds(alice, "cpu 0")
		time.Sleep(10 * time.Minute)
		w.state(alice, tenant.Asleep)
	})
}

func TestUnknownUseOfTheCPU(t *testing.T) {
	bubble(t, notes("idle_timeout = 60"), func(t *testing.T, w *world) {
		w.cpu.fail(errors.New("input/output error"))
		w.spawn(alice)
		time.Sleep(time.Minute)
		w.state(alice, tenant.Asleep)
	})
}

// On a machine whose CPUs others have taken a job hardly gets any. It is at work all the
// same; an idle runtime, which waits for the little it does, is not.
func TestStarvedJobIsAtWork(t *testing.T) {
	bubble(t, notes("doze_timeout = 20\nidle_timeout = 3600\nbusy_max = 300"), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.spawn(bob)
		w.cpu.burn(alice, 0.5)
		w.cpu.starve(bob, 0.02, 0.3)
		time.Sleep(20 * time.Second)
		w.holds(alice, "cpu 0")
		w.state(bob, tenant.Dozing)
		w.cpu.starve(alice, 0.01, 0.97)
		time.Sleep(100 * time.Second)
		list := w.holds(alice, "cpu 0")
		if got := list[0]; got.Cores != 0.01 || got.Waits != 0.97 {
			t.Errorf("got %+v, want one that waits", got)
		}
		time.Sleep(time.Until(list[0].Until) - time.Millisecond)
		w.state(alice, tenant.Awake)
		time.Sleep(time.Millisecond)
		w.state(alice, tenant.Dozing)
	})
}

// A look that comes late proves nothing about the last window: who was busy is held on,
// for no longer than otherwise, and who was not is looked at once more.
func TestLateLookProvesNothing(t *testing.T) {
	bubble(t, notes("doze_timeout = 20\nidle_timeout = 3600\nbusy_max = 300"), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.cpu.burn(alice, 0.5)
		time.Sleep(20 * time.Second)
		until := w.holds(alice, "cpu 0")[0].Until
		w.cpu.delay(40 * time.Second) // the next look, which is due in 5 s
		time.Sleep(46 * time.Second)
		if got := w.holds(alice, "cpu 0")[0].Until; !got.Equal(until) {
			t.Errorf("after a late look: held until %v, want %v as before", got, until)
		}
		w.cpu.burn(alice, 0)
		time.Sleep(10 * time.Second)
		w.state(alice, tenant.Dozing)
	})
}
