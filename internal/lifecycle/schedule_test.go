package lifecycle_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

// calendar knows entries that are Go durations: "1h" is each full hour since 1970.
type calendar struct {
	mu    sync.Mutex
	asked int
	err   error
}

func (c *calendar) next(_ context.Context, entry string, after time.Time) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
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
