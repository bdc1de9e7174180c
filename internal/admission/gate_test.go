package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	machine  = tenant.PriorityMachine
	person   = tenant.PriorityPerson
	operator = tenant.PriorityOperator
)

// desk is a Gate whose starts are told apart by names.
type desk struct {
	*Gate
	t       *testing.T
	mu      sync.Mutex
	order   []string // in which they got their places
	tickets map[string]*Ticket
	errs    map[string]error
	wg      sync.WaitGroup
}

// atGate runs f in a bubble with a Gate that runs.
func atGate(t *testing.T, places int, o Options, f func(d *desk)) {
	t.Helper()
	fakeclock.Test(t, func(t *testing.T) {
		d := &desk{Gate: New(places, o), t: t, tickets: map[string]*Ticket{}, errs: map[string]error{}}
		ctx, cancel := context.WithCancel(t.Context())
		d.wg.Go(func() { d.Run(ctx) })
		f(d)
		for _, ticket := range d.tickets {
			ticket.Leave()
		}
		synctest.Wait()
		if got := d.Counts(); got != (Counts{}) || d.taken != 0 {
			t.Errorf("at the end: got %+v, %d places taken, want none", got, d.taken)
		}
		for i := range d.queues {
			if q := &d.queues[i]; q.count != 0 || len(q.lines) != 0 || len(q.turns) != 0 {
				t.Errorf("at the end: something is left in queue %d: %+v", i, q)
			}
		}
		cancel()
		d.wg.Wait()
	})
}

// enter queues a start, named by its service, a slash and a number.
func (d *desk) enter(name string, p tenant.Priority) {
	service, _, _ := strings.Cut(name, "/")
	ticket := d.Enter(service, p)
	d.tickets[name] = ticket
	d.wg.Go(func() {
		err := ticket.Wait(d.t.Context())
		d.mu.Lock()
		defer d.mu.Unlock()
		d.errs[name] = err
		if err == nil {
			d.order = append(d.order, name)
		}
	})
	synctest.Wait()
}

func (d *desk) leave(names ...string) {
	for _, name := range names {
		d.tickets[name].Leave()
		synctest.Wait()
	}
}

// drain has each start leave that has a place, until nobody waits.
func (d *desk) drain() {
	for i := 0; i < len(d.order); i++ {
		d.leave(d.order[i])
	}
}

func (d *desk) got(want ...string) {
	d.t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.order, want) {
		d.t.Fatalf("got places %v, want %v", d.order, want)
	}
}

func TestPlacesAreFew(t *testing.T) {
	atGate(t, 2, Options{}, func(d *desk) {
		for i := range 5 {
			d.enter(fmt.Sprint("notes/", i), person)
		}
		d.got("notes/0", "notes/1")
		if got, want := d.Counts(), (Counts{Queued: 3, Starting: 2}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		d.leave("notes/1", "notes/1", "notes/0") // to leave twice is once
		d.got("notes/0", "notes/1", "notes/2", "notes/3")
		d.SetPlaces(3)
		d.got("notes/0", "notes/1", "notes/2", "notes/3", "notes/4")
	})
}

func TestPeopleBeforeMachines(t *testing.T) {
	atGate(t, 1, Options{}, func(d *desk) {
		d.enter("a/first", machine)
		d.enter("a/crawler", machine)
		d.enter("a/person", person)
		d.enter("a/command", operator)
		d.drain()
		d.got("a/first", "a/command", "a/person", "a/crawler")
	})
}

func TestWhoHasWaitedLongestIsNotForgotten(t *testing.T) {
	atGate(t, 1, Options{}, func(d *desk) {
		d.enter("a/first", machine)
		time.Sleep(time.Millisecond)
		d.enter("a/crawler", machine)
		time.Sleep(time.Millisecond)
		for i := range 8 {
			d.enter(fmt.Sprint("b/", i), person)
		}
		d.drain()
		if got := slices.Index(d.order, "a/crawler"); got != oldestTurn-1 {
			t.Errorf("the machine has turn %d of %v, want %d", got, d.order, oldestTurn-1)
		}
	})
}

func TestServicesTakeTurns(t *testing.T) {
	atGate(t, 1, Options{}, func(d *desk) {
		d.enter("storm/first", person)
		for i := range 100 {
			d.enter(fmt.Sprint("storm/", i), person)
		}
		d.enter("quiet/0", person)
		d.enter("calm/0", person)
		d.enter("quiet/1", person)
		d.drain()
		for name, most := range map[string]int{"quiet/0": 3, "calm/0": 4, "quiet/1": 7} {
			if got := slices.Index(d.order, name); got > most {
				t.Errorf("%s has turn %d of %v, want at most %d", name, got, d.order[:10], most)
			}
		}
		var storm []string
		for _, name := range d.order {
			if strings.HasPrefix(name, "storm/") {
				storm = append(storm, name)
			}
		}
		for i := range 100 {
			if storm[i+1] != fmt.Sprint("storm/", i) {
				t.Fatalf("within a service: got %v, want the first to come first", storm)
			}
		}
	})
}

func TestWhoLeavesGivesTheTurnUp(t *testing.T) {
	atGate(t, 1, Options{}, func(d *desk) {
		d.enter("a/first", person)
		d.enter("a/gone", person)
		d.enter("a/stays", person)
		d.tickets["a/gone"].Withdraw()
		d.tickets["a/first"].Withdraw() // has its place already
		synctest.Wait()
		if err := d.errs["a/gone"]; !errors.Is(err, ErrWithdrawn) {
			t.Errorf("got %v, want %v", err, ErrWithdrawn)
		}
		d.drain()
		d.got("a/first", "a/stays")
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	atGate(t, 1, Options{}, func(d *desk) {
		d.enter("a/first", person)
		ctx, cancel := context.WithTimeout(d.t.Context(), time.Second)
		defer cancel()
		if err := d.Enter("a", person).Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		if got := d.Counts(); got.Queued != 0 {
			t.Errorf("got %+v, want nobody queued", got)
		}
	})
}

func TestNobodyWaitsForEver(t *testing.T) {
	atGate(t, 1, Options{Short: func(int) bool { return true }}, func(d *desk) {
		begun := time.Now()
		err := d.Enter("a", person).Wait(d.t.Context())
		if !errors.Is(err, ErrTooLong) || time.Since(begun) != maxWait {
			t.Errorf("got %v after %v, want %v after %v", err, time.Since(begun), ErrTooLong, maxWait)
		}
	})
}

func TestRaise(t *testing.T) {
	atGate(t, 1, Options{}, func(d *desk) {
		d.enter("a/first", machine)
		d.enter("a/1", machine)
		d.enter("a/2", machine)
		d.tickets["a/2"].Raise(person)
		d.tickets["a/2"].Raise(machine)    // not back
		d.tickets["a/first"].Raise(person) // too late to matter
		d.drain()
		d.got("a/first", "a/2", "a/1")
	})
}

// Starts that hang must not keep others from starting while there is nothing to do.
func TestSlowStartsGiveTheirPlacesBack(t *testing.T) {
	var busy atomic.Bool
	share := func() float64 {
		if busy.Load() {
			return idle - 0.01
		}
		return 1
	}
	atGate(t, 2, Options{Idle: share}, func(d *desk) {
		d.enter("a/hangs1", person)
		d.enter("a/hangs2", person)
		d.enter("a/hangs3", person)
		d.enter("b/good", person)
		d.got("a/hangs1", "a/hangs2")
		time.Sleep(slow + 2*tick)
		if got, want := d.Counts(), (Counts{Starting: 4}); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		// The places that were given back are not given back again.
		d.leave("a/hangs1", "a/hangs2")
		d.enter("b/1", person)
		d.enter("b/2", person)
		if got := d.Counts(); got.Queued != 2 || got.Starting != 2 {
			t.Fatalf("got %+v, want two queued behind two", got)
		}
		// Busy processors: the place is held longer.
		busy.Store(true)
		d.leave("b/good")
		time.Sleep(stuck - slow - 4*tick)
		if got := d.Counts(); got.Queued != 1 {
			t.Errorf("with busy processors: got %+v, want one queued still", got)
		}
		time.Sleep(slow + 4*tick)
		if got := d.Counts(); got.Queued != 0 {
			t.Errorf("after %v: got %+v, want nobody queued", stuck, got)
		}
	})
}

// With few processors idle only so many more are let in at a time.
func TestPlacesAreLentByWhatIsIdle(t *testing.T) {
	atGate(t, 4, Options{Idle: func() float64 { return idle }}, func(d *desk) {
		for i := range 12 {
			d.enter(fmt.Sprint("a/", i), person)
		}
		time.Sleep(slow + tick + tick/2)
		if got := d.Counts().Starting; got > 6 || got < 5 {
			t.Errorf("got %d starts, want one more at each of two looks", got)
		}
	})
}

func TestNobodyIsLetInWhileMemoryIsShort(t *testing.T) {
	var short atomic.Bool
	var looks, starting atomic.Int64
	short.Store(true)
	options := Options{Short: func(n int) bool {
		looks.Add(1)
		starting.Store(int64(n))
		return short.Load()
	}}
	atGate(t, 2, options, func(d *desk) {
		d.enter("a/1", operator)
		time.Sleep(10 * time.Second)
		d.got()
		short.Store(false)
		time.Sleep(2 * tick)
		d.got("a/1")
		before := looks.Load()
		if before < 50 || before > 150 {
			t.Errorf("looked %d times in ten seconds, want about 100", before)
		}
		time.Sleep(time.Minute)
		if after := looks.Load(); after != before {
			t.Errorf("looked %d times while nobody waits, want none", after-before)
		}
		d.enter("a/2", person)
		if got := starting.Load(); got != 1 {
			t.Errorf("told of %d starts, want 1", got)
		}
	})
}

func TestHall(t *testing.T) {
	h := NewHall(100)
	fill := func(service string, p tenant.Priority) (n int) {
		for h.Enter(service, p) {
			n++
		}
		return n
	}
	if got := fill("storm", machine); got < 30 || got > 34 {
		t.Errorf("machines of one service: got %d of 100 held, want a third", got)
	}
	if got := fill("storm", person); h.Len() != 50 {
		t.Errorf("with people: got %d more and %d held, want 50", got, h.Len())
	}
	if !h.Enter("quiet", machine) {
		t.Error("another service found no room")
	}
	fill("quiet", person)
	for i := range 100 { // however many services fill it
		fill(fmt.Sprint("more", i), person)
	}
	if h.Enter("last", person) || h.Len() > 100 {
		t.Errorf("got %d held, want it full at last", h.Len())
	}
	if !h.Enter("storm", operator) {
		t.Error("no room for an operator")
	}
	for service, n := range h.held {
		for range n {
			h.Leave(service)
		}
	}
	if h.Len() != 0 || len(h.held) != 0 {
		t.Errorf("got %d, %v held at the end", h.Len(), h.held)
	}
	h.SetSize(0)
	if h.Enter("a", person) {
		t.Error("room in a hall of no size")
	}
}

// Busy processors make all starts slow: however long that lasts, no more of them go on
// without a place than with one, or none would be done within its startup_timeout.
func TestSlowStartsAreBoundedOnABusyMachine(t *testing.T) {
	atGate(t, 2, Options{Idle: func() float64 { return 0 }}, func(d *desk) {
		for i := range 8 {
			d.enter(fmt.Sprint("a/", i), person)
		}
		time.Sleep(5 * stuck)
		if got := d.Counts(); got.Starting != 4 || got.Queued != 4 {
			t.Errorf("got %+v, want 4 started and 4 queued", got)
		}
		d.leave("a/0", "a/1")
		time.Sleep(stuck + 2*tick)
		if got := d.Counts(); got.Starting != 4 || got.Queued != 2 {
			t.Errorf("when two were done: got %+v, want 4 started and 2 queued", got)
		}
	})
}
