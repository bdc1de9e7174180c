package lifecycle_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/lifecycle"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

// calendar knows entries that are Go durations: "1h" is each full hour since 1970.
type calendar struct {
	mu  sync.Mutex
	err error
}

func (c *calendar) next(_ context.Context, entry string, after time.Time) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := time.ParseDuration(entry)
	if err = cmp.Or(err, c.err); err != nil {
		return time.Time{}, err
	}
	return after.Truncate(d).Add(d), nil
}

func (c *calendar) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// scheduled is the registry's part for schedules; the store's mutex guards it.
type scheduled struct {
	schedules []registry.Schedule
	runs      []registry.Run
}

func (s *store) SetSchedules(ctx context.Context, list []registry.Schedule) ([]registry.Schedule, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, one := range list {
		for _, known := range s.schedules {
			if known.Service == one.Service && known.Entry == one.Entry {
				list[i] = known
			}
		}
	}
	s.schedules = list
	return slices.Clone(list), s.faultLocked(ctx, "schedules")
}

func (s *store) Due(ctx context.Context, due registry.Schedule) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faultLocked(ctx, "due"); err != nil {
		return err
	}
	for i := range s.schedules {
		if s.schedules[i].Service == due.Service && s.schedules[i].Entry == due.Entry {
			s.schedules[i].Seen = due.Seen
		}
	}
	for id := range s.rows {
		if run := (registry.Run{ID: id, Entry: due.Entry}); id.Service == due.Service && !slices.Contains(s.runs, run) {
			s.runs = append(s.runs, run)
		}
	}
	return nil
}

func (s *store) Runs(ctx context.Context) ([]registry.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.runs), s.faultLocked(ctx, "runs")
}

func (s *store) Ran(ctx context.Context, run registry.Run) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = slices.DeleteFunc(s.runs, func(r registry.Run) bool { return r == run })
	return s.faultLocked(ctx, "ran")
}

// pending gives how many runs the registry has.
func (s *store) pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.runs)
}

const cron = "idle_timeout = 60\nbusy_max = 0\nschedule = [\"1h\"]\nschedule_path = \"/cron\"\n"

func TestScheduleWakesSleepers(t *testing.T) {
	bubble(t, notes(cron), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Serve: 5 * time.Minute})
		w.register(alice, bob)
		time.Sleep(time.Until(time.Now().Truncate(hour).Add(hour)) - time.Millisecond)
		w.state(alice, tenant.Asleep)
		time.Sleep(2 * time.Second)
		w.holds(alice, "requests 1") // the run is in progress
		w.state(bob, tenant.Awake)
		time.Sleep(5 * time.Minute)
		w.state(bob, tenant.Asleep)
		w.state(alice, tenant.Awake)
		time.Sleep(time.Minute)
		w.state(alice, tenant.Asleep)
		if got := w.systemd.Schedules(alice); !slices.Equal(got, []string{"POST /cron 1h"}) {
			t.Errorf("the app got %q, want one request of the schedule", got)
		}
		time.Sleep(3 * hour)
		w.starts(alice, 5)
		if got := w.store.pending(); got != 0 {
			t.Errorf("got %d runs left in the registry, want none", got)
		}
	})
}

// Without a path an instance is only woken.
// What comes before the answer is not the answer; what is wrong with that is said.
func TestScheduledAnswers(t *testing.T) {
	const hints, ok = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for name, c := range map[string]struct{ answer, reason string }{
		"plain":      {ok, ""},
		"hints":      {"HTTP/1.1 102 Processing\r\n\r\n" + hints + hints + ok, ""},
		"error":      {hints + "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "the app answered with status 503"},
		"switched":   {"HTTP/1.1 101 Switching Protocols\r\n\r\n", "the app answered with status 101"},
		"cut off":    {ok[:len(ok)-1], "the app did not answer properly"},
		"hints only": {hints, "the app did not answer properly"},
		"nothing":    {"", "the app did not answer properly"},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			go func() {
				defer theirs.Close()
				if _, err := http.ReadRequest(bufio.NewReader(theirs)); err == nil {
					_, _ = io.WriteString(theirs, c.answer)
				}
			}()
			err := lifecycle.RequestScheduled(t.Context(), ours, "/cron", "hourly")
			var e *tenant.Error
			if c.reason == "" && err != nil || c.reason != "" && (!errors.As(err, &e) || e.Msg != c.reason) {
				t.Errorf("got %v, want %q", err, c.reason)
			}
		})
	}
}

func TestScheduleWithoutPath(t *testing.T) {
	bubble(t, notes("idle_timeout = 60\nschedule = [\"1h\"]"), func(t *testing.T, w *world) {
		w.register(alice)
		time.Sleep(hour)
		w.starts(alice, 2)
		if got := w.systemd.Schedules(alice); len(got) != 0 {
			t.Errorf("the app got %q, want nothing", got)
		}
	})
}

// However long the daemon was away, that is one run; and runs that it had not begun are
// resumed.
func TestMissedRunIsCaughtUpOnce(t *testing.T) {
	text := notes(cron)
	bubble(t, text, func(t *testing.T, w *world) {
		w.register(alice)
		time.Sleep(hour)
		w.starts(alice, 2)
		time.Sleep(2 * time.Minute)
		w.stop()
		time.Sleep(30 * time.Minute)
		w.start(parse(t, text))
		<-w.manager.Ready()
		time.Sleep(time.Second)
		w.starts(alice, 2) // nothing was missed
		w.stop()
		time.Sleep(10 * hour)
		w.start(parse(t, text))
		<-w.manager.Ready()
		time.Sleep(time.Second)
		w.starts(alice, 3)
		time.Sleep(2 * time.Minute)
		w.starts(alice, 3)
		w.state(alice, tenant.Asleep)
		if got := w.systemd.Schedules(alice); len(got) != 2 {
			t.Errorf("the app got %q, want one run in time and one caught up", got)
		}
		// A daemon that is killed before an instance's turn.
		w.stop()
		if err := w.store.Due(t.Context(), registry.Schedule{Service: "notes", Entry: "1h", Seen: time.Now()}); err != nil {
			t.Fatal(err)
		}
		w.start(parse(t, text))
		<-w.manager.Ready()
		time.Sleep(time.Second)
		w.starts(alice, 4)
	})
}

// A thousand instances do not start at once, and all start.
func TestScheduleIsPaced(t *testing.T) {
	bubble(t, notes(cron), func(t *testing.T, w *world) {
		const n = 100
		var ids []tenant.ID
		for i := range n {
			ids = append(ids, tenant.ID{Service: "notes", Name: fmt.Sprint("t", i)})
			w.systemd.SetApp(ids[i], lifecycletest.App{Ready: time.Second, Serve: 4 * time.Second})
		}
		w.register(ids...)
		time.Sleep(time.Until(time.Now().Truncate(hour).Add(hour)))
		most := 0
		for range 5 * n {
			synctest.Wait()
			busy := 0
			for _, s := range w.manager.List() {
				if s.InFlight > 0 {
					busy++
				}
			}
			most = max(most, busy)
			time.Sleep(time.Second)
		}
		if most != 2 {
			t.Errorf("got %d runs at a time, want 2", most)
		}
		for _, id := range ids {
			w.starts(id, 2)
		}
	})
}

// One that hangs holds up nobody for long.
func TestScheduleWithASlowApp(t *testing.T) {
	bubble(t, notes(cron), func(t *testing.T, w *world) {
		ids := []tenant.ID{alice, bob, {Service: "notes", Name: "carol"}, {Service: "notes", Name: "dave"}}
		for _, id := range ids {
			w.systemd.SetApp(id, lifecycletest.App{Serve: 100 * hour})
		}
		w.register(ids...)
		time.Sleep(hour + 20*time.Second)
		for _, id := range ids {
			w.holds(id, "requests 1")
		}
		time.Sleep(hour) // the longest that a run may take
		for _, id := range ids {
			w.starts(id, 2)
		}
	})
}

// What cannot start is not tried for the same run again, and keeps no other from its.
func TestScheduleOfABrokenInstance(t *testing.T) {
	bubble(t, notes(cron), func(t *testing.T, w *world) {
		w.register(alice, bob)
		w.systemd.SetApp(alice, lifecycletest.App{NeverReady: true})
		time.Sleep(hour + 10*time.Minute)
		w.starts(alice, 2)
		w.starts(bob, 2)
		if got := w.store.pending(); got != 0 {
			t.Errorf("got %d runs left, want none", got)
		}
	})
}

func TestScheduleFollowsTheConfiguration(t *testing.T) {
	bubble(t, notes(cron), func(t *testing.T, w *world) {
		w.register(alice)
		w.manager.SetConfig(parse(t, notes("idle_timeout = 60")))
		time.Sleep(3 * hour)
		w.starts(alice, 1)
		w.manager.SetConfig(parse(t, notes("idle_timeout = 60\nschedule = [\"2h\"]")))
		time.Sleep(time.Second)
		w.starts(alice, 1) // what is new has missed nothing
		time.Sleep(2 * hour)
		w.starts(alice, 2)
	})
}

func TestScheduleWithAFailingRegistry(t *testing.T) {
	text := notes(cron)
	bubble(t, text, func(t *testing.T, w *world) {
		w.register(alice)
		w.stop()
		for _, op := range []string{"schedules", "runs", "due"} {
			w.store.fail(op, errors.New("disk I/O error"))
		}
		w.start(parse(t, text))
		time.Sleep(hour + 30*time.Second)
		w.starts(alice, 2)
		w.calendar.fail(errors.New("cannot fork"))
		time.Sleep(hour)
		w.calendar.fail(nil)
		time.Sleep(10 * time.Second)
		w.starts(alice, 3)
	})
}

// A run is a request as any other: a stop lets it end.
func TestStopWaitsForAScheduledRun(t *testing.T) {
	bubble(t, notes(cron+"stop_grace = 10"), func(t *testing.T, w *world) {
		var mu sync.Mutex
		answers := 0
		w.systemd.SetApp(alice, lifecycletest.App{Serve: 5 * time.Second, Status: func() int {
			mu.Lock()
			defer mu.Unlock()
			answers++
			return 200
		}})
		w.register(alice)
		time.Sleep(time.Until(time.Now().Truncate(hour).Add(hour)) + time.Second)
		w.holds(alice, "requests 1")
		begun := time.Now()
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took < 3*time.Second || took > 5*time.Second {
			t.Errorf("stopped after %v, want when the run had ended", took)
		}
		w.state(alice, tenant.Asleep)
		mu.Lock()
		defer mu.Unlock()
		if answers != 1 {
			t.Errorf("got %d answers, want 1", answers)
		}
		w.starts(alice, 2)
	})
}

// Stops at every moment of a run: it is made once, and what starts is known to the
// Manager.
func TestStopsAmongScheduledRuns(t *testing.T) {
	bubble(t, notes("busy_max = 0\nschedule = [\"1h\"]\nschedule_path = \"/cron\""), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{
			Boot: 2 * time.Millisecond, Ready: 3 * time.Millisecond, Serve: 7 * time.Millisecond, Stop: 5 * time.Millisecond,
		})
		w.register(alice)
		const n = 40
		for i := range n {
			// The instance is asleep at the first half, and awake at the others.
			if i >= n/2 {
				w.served(alice, w.systemd.Starts(alice)+1)
			}
			time.Sleep(time.Until(time.Now().Truncate(hour).Add(hour)) + time.Duration(i%(n/2))*time.Millisecond)
			if _, err := w.manager.Stop(t.Context(), alice); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			if got := len(w.systemd.Schedules(alice)); got != i+1 {
				t.Fatalf("stop after %v: got %d runs, want %d", time.Duration(i%(n/2))*time.Millisecond, got, i+1)
			}
			synctest.Wait()
			s, err := w.manager.Get(alice)
			if err != nil {
				t.Fatal(err)
			}
			if got := w.systemd.Starts(alice); s.InFlight != 0 || int64(got) != s.Wakes {
				t.Fatalf("stop after %v: got %d in flight and %d starts, want none and the %d wakes",
					time.Duration(i%(n/2))*time.Millisecond, s.InFlight, got, s.Wakes)
			}
			if _, err := w.manager.Stop(t.Context(), alice); err != nil {
				t.Error(err)
			}
		}
	})
}

// An app that serves a connection at a time is not kept busy by one that nobody uses.
func TestScheduleOfAnAppThatServesOneAtATime(t *testing.T) {
	bubble(t, notes(cron), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{Single: true, Serve: time.Second})
		w.register(alice)
		for n := range 10 {
			time.Sleep(time.Until(time.Now().Truncate(hour).Add(hour)) + 5*time.Second)
			if got := w.systemd.Schedules(alice); len(got) != n+1 {
				t.Fatalf("the app got %q, want %d requests of the schedule", got, n+1)
			}
			w.state(alice, tenant.Awake)
			w.holds(alice)
		}
	})
}

// What is refused for now is made later.
func TestRefusedRunIsTriedAgain(t *testing.T) {
	const daily = "busy_max = 0\nschedule = [\"24h\"]\nschedule_path = \"/cron\"\n"
	day := func() { time.Sleep(time.Until(time.Now().Truncate(24 * hour).Add(24 * hour))) }
	made := func(t *testing.T, w *world, id tenant.ID, want int) {
		t.Helper()
		synctest.Wait()
		if got := len(w.systemd.Schedules(id)); got != want {
			t.Fatalf("%s: got %d runs, want %d", id, got, want)
		}
	}
	left := func(t *testing.T, w *world, want int) {
		t.Helper()
		synctest.Wait()
		if got := w.store.pending(); got != want {
			t.Fatalf("got %d runs in the registry, want %d", got, want)
		}
	}
	t.Run("memory", func(t *testing.T) {
		tight(t, notes(daily), func(t *testing.T, w *world, mem *memory) {
			w.register(alice)
			w.spawn(bob) // its memory would come back, so alice waits
			mem.set("it is tried out")
			day()
			time.Sleep(10 * time.Minute)
			made(t, w, alice, 0)
			made(t, w, bob, 1)
			left(t, w, 1)
			mem.set("")
			time.Sleep(2 * time.Minute)
			made(t, w, alice, 1)
			left(t, w, 0)
		})
	})
	t.Run("given up", func(t *testing.T) {
		tight(t, notes(daily), func(t *testing.T, w *world, mem *memory) {
			w.register(alice)
			w.spawn(bob)
			mem.set("it is tried out")
			day()
			time.Sleep(50 * time.Minute)
			left(t, w, 1)
			time.Sleep(15 * time.Minute)
			left(t, w, 0)
			mem.set("")
			time.Sleep(10 * time.Minute)
			made(t, w, alice, 0)
			day()
			time.Sleep(time.Minute)
			made(t, w, alice, 1) // the next one
		})
	})
	t.Run("hall", func(t *testing.T) {
		text := strings.Replace(notes(daily+"startup_timeout = 300"), "[settings]", "[settings]\nmax_waiting = 2", 1)
		bubble(t, text, func(t *testing.T, w *world) {
			w.register(alice, bob)
			w.systemd.SetApp(bob, lifecycletest.App{Ready: 4 * time.Minute})
			time.Sleep(time.Until(time.Now().Truncate(24*hour).Add(24*hour)) - time.Second)
			served := w.visit(t.Context(), bob, person)
			time.Sleep(time.Minute)
			made(t, w, alice, 0)
			left(t, w, 2)
			if err := <-served; err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute)
			made(t, w, alice, 1)
			made(t, w, bob, 1)
			left(t, w, 0)
		})
	})
	t.Run("max_in_flight", func(t *testing.T) {
		bubble(t, notes(daily+"max_in_flight = 1"), func(t *testing.T, w *world) {
			w.spawn(alice)
			_, release := w.acquire(alice)
			day()
			time.Sleep(time.Minute)
			made(t, w, alice, 0)
			release()
			time.Sleep(time.Minute)
			made(t, w, alice, 1)
			left(t, w, 0)
		})
	})
	t.Run("end", func(t *testing.T) {
		text := notes(daily + "max_in_flight = 1")
		bubble(t, text, func(t *testing.T, w *world) {
			w.spawn(alice)
			_, release := w.acquire(alice)
			day()
			time.Sleep(time.Second)
			release()
			w.restart(parse(t, text))
			time.Sleep(time.Second)
			made(t, w, alice, 1)
			left(t, w, 0)
		})
	})
}
