package lifecycle_test

import (
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

// What an earlier daemon has saved by a clock that was wrong, and has been set back since, keeps
// nobody awake, and is no failure yet to come.
func TestSavedByAClockThatWasAhead(t *testing.T) {
	text := notes("idle_timeout = 60\nkeep_awake_max = \"1h\"")
	bubble(t, text, func(t *testing.T, w *world) {
		w.spawn(alice)
		w.register(bob)
		w.stop()
		later := time.Now().Add(10000 * hour)
		for _, id := range []tenant.ID{alice, bob} {
			row, _ := w.store.row(id)
			row.LastActive, row.AppLease = later, later
			if !row.RestsSince.IsZero() {
				row.RestsSince = later
			}
			w.store.rows[id] = row
			w.store.brakes[id] = registry.Brake{Failures: []time.Time{later, later, later}}
		}
		w.restart(parse(t, text))
		w.state(alice, tenant.Awake)
		if s := w.state(bob, tenant.Asleep); s.Since.After(time.Now()) || s.LastActive.After(time.Now()) {
			t.Errorf("got it asleep since %v, active last at %v, and it is %v", s.Since, s.LastActive, time.Now())
		}
		time.Sleep(hour) // as long as a lease may be
		w.state(alice, tenant.Asleep)

		w.served(bob, 2)
		w.systemd.Crash(bob)
		w.state(bob, tenant.Waking)
		w.served(bob, 3)
		time.Sleep(time.Minute)
		w.state(bob, tenant.Asleep)
	})
}

// A clock that is set back while the daemon works puts a schedule's next time back, too, unless
// that is by so little that it may just have been due.
func TestScheduleAfterTheClockIsSetBack(t *testing.T) {
	bubble(t, notes("schedule = [\"24h\"]"), func(t *testing.T, w *world) {
		w.register(alice)
		now := time.Now().Add(100000 * hour).Round(0).Truncate(24 * hour).Add(time.Second)
		tick := func(now time.Time, want time.Duration) {
			t.Helper()
			synctest.Wait() // nobody else looks
			w.manager.TickSchedules(now)
			if at, _ := w.manager.NextSchedule(alice.Service); !at.Equal(now.Add(want)) {
				t.Errorf("at %v: got %v, want %v later", now, at, want)
			}
		}
		tick(now, 24*hour-time.Second)
		tick(now.Add(-2*time.Second), 24*hour+time.Second)
		tick(now.Add(-50000*hour), 8*hour-time.Second)
		synctest.Wait()
		w.starts(alice, 2) // it was due once, long ago
	})
}
