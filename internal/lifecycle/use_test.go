package lifecycle_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

// ledger is a UseStore in memory.
type ledger struct {
	mu      sync.Mutex
	days    map[string]map[tenant.ID]tenant.DailyUse
	metered map[tenant.ID]tenant.Metered
	fault   error
}

func (l *ledger) AddUse(_ context.Context, list []tenant.DailyUse, metered []tenant.Metered) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault != nil {
		return l.fault
	}
	for _, u := range list {
		if l.days[u.Day] == nil {
			l.days[u.Day] = map[tenant.ID]tenant.DailyUse{}
		}
		sum := l.days[u.Day][u.ID]
		sum.ID, sum.Day, sum.Storage = u.ID, u.Day, u.Storage
		sum.Requests += u.Requests
		sum.Awake += u.Awake
		sum.Dozing += u.Dozing
		sum.CPU += u.CPU
		sum.Memory += u.Memory
		l.days[u.Day][u.ID] = sum
	}
	for _, m := range metered {
		l.metered[m.ID] = m
	}
	return nil
}

func (l *ledger) Use(_ context.Context, q tenant.UseQuery) (list []tenant.DailyUse, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for day, uses := range l.days {
		for _, u := range uses {
			if q.From <= day && day <= q.Until {
				list = append(list, u)
			}
		}
	}
	return list, nil
}

func (l *ledger) Metered(context.Context) (map[tenant.ID]tenant.Metered, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.metered), nil
}

func (l *ledger) ForgetUse(_ context.Context, before string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.days, func(day string, _ map[tenant.ID]tenant.DailyUse) bool { return day < before })
	return nil
}

func (l *ledger) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = err
}

// withLedger is a bubble whose use is remembered.
func withLedger(t *testing.T, text string, f func(t *testing.T, w *world, l *ledger)) {
	t.Helper()
	fakeclock.Test(t, func(t *testing.T) {
		w := newWorld(t)
		l := &ledger{days: map[string]map[tenant.ID]tenant.DailyUse{}, metered: map[tenant.ID]tenant.Metered{}}
		w.uses = l
		w.start(parse(t, text))
		<-w.manager.Ready()
		f(t, w, l)
	})
}

// used gives what an instance has used on a day by now.
func (w *world) used(id tenant.ID, day string) tenant.DailyUse {
	w.t.Helper()
	list, err := w.manager.Use(w.t.Context(), tenant.UseQuery{From: day, Until: day})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, u := range list {
		if u.ID == id {
			return u
		}
	}
	return tenant.DailyUse{}
}

// near reports whether a time is as it should be, but for the time that waking takes.
func near(got, want time.Duration) bool { return (got - want).Abs() < 2*time.Second }

// The clock of a bubble begins at midnight.
const firstDay, secondDay = "2000-01-01", "2000-01-02"

func TestUseByDay(t *testing.T) {
	withLedger(t, notes("doze_timeout = 36000\nkeep_awake_max = 0\nbusy_max = 0"), func(t *testing.T, w *world, l *ledger) {
		w.spawn(alice)
		w.cpu.burn(alice, 0.25)
		w.request(alice)
		time.Sleep(23 * time.Hour)
		got := w.used(alice, firstDay)
		if !near(got.Awake, 10*time.Hour) || !near(got.Dozing, 13*time.Hour) || got.Requests != 0 {
			t.Errorf("at 23 h: got %v awake and %v dozing, want 10 and 13 h", got.Awake, got.Dozing)
		}
		time.Sleep(3 * time.Hour)
		got, next := w.used(alice, firstDay), w.used(alice, secondDay)
		if !near(got.Dozing, 14*time.Hour) || !near(next.Dozing, 2*time.Hour) {
			t.Errorf("at 26 h: got %v and %v dozing, want 14 and 2 h", got.Dozing, next.Dozing)
		}
		if !near(got.CPU, 6*time.Hour) || !near(next.CPU, 30*time.Minute) {
			t.Errorf("at 26 h: got %v and %v of CPU time, want 6 and 0.5 h", got.CPU, next.CPU)
		}
		if hours := got.Memory / (1 << 30) / 3600; hours < 23.9 || hours > 24.1 {
			t.Errorf("got %v GiB hours, want 24", hours)
		}
		if err := w.manager.Destroy(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		if after := w.used(alice, secondDay); after.Dozing < next.Dozing {
			t.Errorf("after its end: got %v dozing, want no less than %v", after.Dozing, next.Dozing)
		}
	})
}

// TestUseIsKept for 400 days, and forgotten at the midnight after.
func TestUseIsKept(t *testing.T) {
	withLedger(t, notes(""), func(t *testing.T, w *world, l *ledger) {
		for _, day := range []string{"1998-11-26", "1998-11-27"} {
			if err := l.AddUse(t.Context(), []tenant.DailyUse{{ID: alice, Day: day}}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(25 * time.Hour)
		for day, want := range map[string]int{"1998-11-26": 0, "1998-11-27": 1} { // which was 400 days before the first
			if list, err := l.Use(t.Context(), tenant.UseQuery{From: day, Until: day}); err != nil || len(list) != want {
				t.Errorf("%s: got %v, %v, want %d", day, list, err, want)
			}
		}
	})
}

// TestUseOverDaemons: the next daemon goes on where the last one has ended, and what
// cannot be saved is saved later.
func TestUseOverDaemons(t *testing.T) {
	text := notes("busy_max = 0")
	withLedger(t, text, func(t *testing.T, w *world, l *ledger) {
		w.spawn(alice)
		w.cpu.burn(alice, 0.5)
		time.Sleep(10 * time.Minute)
		l.fail(errors.New("the disk is full"))
		time.Sleep(10 * time.Minute)
		l.fail(nil)
		w.stop()
		time.Sleep(10 * time.Minute) // nobody looks
		w.start(parse(t, text))
		<-w.manager.Ready()
		time.Sleep(10 * time.Minute)
		if got := w.used(alice, firstDay); !near(got.Awake, 40*time.Minute) || !near(got.CPU, 20*time.Minute) {
			t.Errorf("got %v awake and %v of CPU time, want 40 and 20 min", got.Awake, got.CPU)
		}
	})
}

// TestUseOfProcesses: each process counts from its own beginning.
func TestUseOfProcesses(t *testing.T) {
	withLedger(t, notes("idle_timeout = 600\nbusy_max = 0"), func(t *testing.T, w *world, l *ledger) {
		for range 3 {
			w.cpu.restart(alice, 0.5)
			w.spawn(alice)
			time.Sleep(30 * time.Minute)
		}
		if got := w.used(alice, firstDay); !near(got.Awake, 30*time.Minute) || !near(got.CPU, 15*time.Minute) {
			t.Errorf("got %v awake and %v of CPU time, want 30 and 15 min", got.Awake, got.CPU)
		}
	})
}

// TestUseOfMemoryInShortTimes: the memory of each state is that of its own time, also where
// it is over before anybody looks by the clock.
func TestUseOfMemoryInShortTimes(t *testing.T) {
	withLedger(t, notes("doze_timeout = 20\nbusy_max = 0"), func(t *testing.T, w *world, l *ledger) {
		w.systemd.SetApp(alice, lifecycletest.App{Freeze: time.Second})
		begun := time.Now()
		w.resident = func(tenant.ID) int64 {
			if d := time.Since(begun); d > 20500*time.Millisecond && d < 50*time.Second {
				return 1 << 20 // it is frozen from 21 s on
			}
			return 1 << 30
		}
		w.spawn(alice)
		time.Sleep(50 * time.Second)
		w.request(alice)
		time.Sleep(5 * time.Second)
		got := w.used(alice, firstDay)
		if seconds := got.Memory / (1 << 30); seconds < 24 || seconds > 27 {
			t.Errorf("got %.1f GiB seconds, want 25: 20 s awake, 30 s of next to nothing, 5 s awake: %+v", seconds, got)
		}
	})
}
