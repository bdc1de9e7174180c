package lifecycle_test

import (
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

const mib = 1 << 20

func (w *world) limit(change tenant.LimitChange) tenant.LimitReport {
	w.t.Helper()
	r, err := w.manager.SetLimits(w.t.Context(), alice, change)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func set(limits tenant.Limits) tenant.LimitChange { return tenant.LimitChange{Set: limits} }

// unit checks what limits the loaded unit has.
func (w *world) unit(want tenant.Limits) {
	w.t.Helper()
	synctest.Wait()
	if got := w.systemd.Limits(alice); !maps.Equal(got, want) {
		w.t.Fatalf("the unit's limits: got %v, want %v", got, want)
	}
}

func value(t *testing.T, r tenant.LimitReport, limit tenant.Limit) tenant.LimitValue {
	t.Helper()
	for _, v := range r.Limits {
		if v.Limit == limit {
			return v
		}
	}
	t.Fatalf("the report has no %s: %+v", limit, r)
	return tenant.LimitValue{}
}

// A limit changes at once, without another process, and stays over doze, sleep,
// restarts and adoption.
func TestLimitsLive(t *testing.T) {
	text := notes("memory_limit_mb = 64\n")
	bubble(t, text, func(t *testing.T, w *world) {
		w.spawn(alice)
		w.unit(tenant.Limits{tenant.LimitMemory: 64 * mib})
		r := w.limit(set(tenant.Limits{tenant.LimitMemory: 32 * mib, tenant.LimitTasks: 50, tenant.LimitNoFile: 100}))
		w.unit(tenant.Limits{tenant.LimitMemory: 32 * mib, tenant.LimitTasks: 50})
		for limit, want := range map[tenant.Limit]tenant.LimitValue{
			tenant.LimitMemory:    {Value: 32 * mib, From: tenant.FromInstance},
			tenant.LimitTasks:     {Value: 50, From: tenant.FromInstance},
			tenant.LimitNoFile:    {Value: 100, From: tenant.FromInstance, Pending: true},
			tenant.LimitCPUShares: {Value: 100, From: tenant.FromStandard},
			tenant.LimitStorage:   {From: tenant.FromStandard},
		} {
			want.Limit = limit
			if got := value(t, r, limit); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		if r.State != tenant.Awake || r.Usage != (tenant.Usage{Memory: 10 * mib, Tasks: 3, CPUTime: 1e9, Storage: 0}) {
			t.Errorf("got %v, %+v, want what an awake one uses", r.State, r.Usage)
		}
		w.served(alice, 1)

		// The daemon restarts: the process stays, and its limits are made sure of.
		w.restart(parse(t, text))
		w.served(alice, 1)
		w.unit(tenant.Limits{tenant.LimitMemory: 32 * mib, tenant.LimitTasks: 50})

		// Asleep it stays as it is; the next start has all of it.
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.limit(set(tenant.Limits{tenant.LimitMemory: 0}))
		w.served(alice, 2)
		w.unit(tenant.Limits{tenant.LimitMemory: 0, tenant.LimitTasks: 50, tenant.LimitNoFile: 100})
		r = w.limit(tenant.LimitChange{Reset: []tenant.Limit{tenant.LimitMemory}})
		if got := value(t, r, tenant.LimitMemory); got.From != tenant.FromService || got.Value != 64*mib {
			t.Errorf("after a reset: got %+v", got)
		}
		r = w.limit(tenant.LimitChange{ResetAll: true})
		if got := value(t, r, tenant.LimitNoFile); got.From != tenant.FromStandard || !got.Pending {
			t.Errorf("after a reset of all: got %+v", got)
		}
		w.unit(tenant.Limits{tenant.LimitMemory: 64 * mib, tenant.LimitTasks: tenant.LimitTasks.Standard(), tenant.LimitNoFile: 100})
		w.served(alice, 2)
	})
}

func TestLimitWhileDozing(t *testing.T) {
	bubble(t, notes("doze_timeout = 5\n"), func(t *testing.T, w *world) {
		w.spawn(alice)
		time.Sleep(6 * time.Second)
		w.state(alice, tenant.Dozing)
		w.limit(set(tenant.Limits{tenant.LimitMemory: 32 * mib}))
		w.unit(tenant.Limits{tenant.LimitMemory: 32 * mib})
		w.state(alice, tenant.Dozing)
		w.active(alice, "frozen")
		w.served(alice, 1)
	})
}

// A limit of the service changes with the configuration.
func TestLimitsReload(t *testing.T) {
	bubble(t, notes("memory_limit_mb = 64\n"), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.manager.SetConfig(parse(t, notes("memory_limit_mb = 96\n")))
		w.unit(tenant.Limits{tenant.LimitMemory: 96 * mib})
		w.manager.SetConfig(parse(t, notes("")))
		w.unit(tenant.Limits{tenant.LimitMemory: 0})
		w.served(alice, 1)
	})
}

func TestLimitsRefused(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		change := func(id tenant.ID, c tenant.LimitChange) error {
			_, err := w.manager.SetLimits(t.Context(), id, c)
			return err
		}
		memory := set(tenant.Limits{tenant.LimitMemory: 32 * mib})
		code(t, change(alice, memory), tenant.CodeNotFound)
		w.spawn(alice)
		code(t, change(alice, set(tenant.Limits{"what": 1})), tenant.CodeInvalid)
		code(t, change(alice, set(tenant.Limits{tenant.LimitTasks: 1})), tenant.CodeInvalid)
		code(t, change(alice, tenant.LimitChange{Set: tenant.Limits{tenant.LimitTasks: 50}, Reset: []tenant.Limit{tenant.LimitTasks}}), tenant.CodeInvalid)
		w.systemd.Lack(tenant.LimitMemory)
		code(t, change(alice, memory), tenant.CodeUnsupported)
		w.systemd.Lack()
		w.systemd.Fail("limit", errors.New("bus is gone"))
		code(t, change(alice, memory), tenant.CodeUnavailable)
		w.unit(nil)
		// What cannot be remembered is taken back.
		w.store.fail("setlimits", errors.New("disk is full"))
		if err := change(alice, memory); err == nil {
			t.Error("a limit that nobody remembers was set")
		}
		w.unit(tenant.Limits{tenant.LimitMemory: 0})
		r, err := w.manager.Limits(t.Context(), alice)
		if err != nil || value(t, r, tenant.LimitMemory).From != tenant.FromStandard {
			t.Errorf("got %+v, %v, want no limit", r, err)
		}
		w.served(alice, 1)
	})
}

// Where the machine lacks what a limit needs it can be taken away, and that can be taken back;
// what is asked for beside it counts.
func TestLimitsTakenBackWhereTheMachineLacksThem(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.systemd.Lack(tenant.LimitTasks)
		none := set(tenant.Limits{tenant.LimitTasks: 0})
		for _, back := range []tenant.LimitChange{
			{Reset: []tenant.Limit{tenant.LimitTasks}}, {ResetAll: true},
			{Reset: []tenant.Limit{tenant.LimitTasks}, Set: tenant.Limits{tenant.LimitMemory: 32 * mib}},
		} {
			if got := value(t, w.limit(none), tenant.LimitTasks); got.From != tenant.FromInstance || got.Value != 0 {
				t.Errorf("none: got %+v", got)
			}
			if got := value(t, w.limit(back), tenant.LimitTasks); got.From != tenant.FromStandard {
				t.Errorf("%+v: got %+v", back, got)
			}
		}
		w.unit(tenant.Limits{tenant.LimitMemory: 32 * mib, tenant.LimitTasks: 0})

		// One that is lacking is refused all the same, and with it the rest.
		w.limit(none)
		w.systemd.Lack(tenant.LimitTasks, tenant.LimitMemory)
		_, err := w.manager.SetLimits(t.Context(), alice, tenant.LimitChange{
			Reset: []tenant.Limit{tenant.LimitTasks}, Set: tenant.Limits{tenant.LimitMemory: 64 * mib, tenant.LimitCPUQuota: 50}})
		code(t, err, tenant.CodeUnsupported)
		w.unit(tenant.Limits{tenant.LimitMemory: 32 * mib, tenant.LimitTasks: 0})
		// What is taken back with another one that is lacking is.
		w.limit(set(tenant.Limits{tenant.LimitCPUQuota: 50}))
		w.limit(tenant.LimitChange{ResetAll: true})
		w.unit(tenant.Limits{tenant.LimitMemory: 0, tenant.LimitTasks: 0, tenant.LimitCPUQuota: 0})
		w.served(alice, 1)
	})
}

// What wakes has more of the CPU than what is awake, and never stays so.
func TestWakeBoost(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.boosts = []tenant.Limit{tenant.LimitCPUShares}
		w.systemd.SetBoosts(w.boosts...)
		text := notes("cpu_shares = 200\n")
		w.start(parse(t, text))
		<-w.manager.Ready()
		boosted, ordinary := tenant.Limits{tenant.LimitCPUShares: 2000}, tenant.Limits{tenant.LimitCPUShares: 200}

		w.systemd.SetApp(alice, lifecycletest.App{Ready: 5 * time.Second})
		spawned := make(chan error, 1)
		go func() {
			_, _, err := w.manager.Spawn(t.Context(), alice)
			spawned <- err
		}()
		time.Sleep(time.Second)
		w.state(alice, tenant.Waking)
		w.unit(boosted)
		if err := <-spawned; err != nil {
			t.Fatal(err)
		}
		w.unit(ordinary)
		// Asleep it is made ready for the next wake.
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.unit(boosted)
		w.served(alice, 2)
		w.unit(ordinary)
		w.limit(set(tenant.Limits{tenant.LimitCPUShares: 50}))
		w.unit(tenant.Limits{tenant.LimitCPUShares: 50})
		w.limit(tenant.LimitChange{ResetAll: true})
		w.unit(ordinary)

		// The call fails: the next look at everything sets it.
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.systemd.Fail("limit", errors.New("bus is gone"))
		w.served(alice, 3)
		w.unit(boosted)
		time.Sleep(31 * time.Second)
		w.unit(ordinary)

		// The daemon dies in between.
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.systemd.Hang("limit")
		w.served(alice, 4)
		w.unit(boosted)
		w.restart(parse(t, text))
		w.unit(ordinary)
		w.served(alice, 4)
	})
}

const quota = "storage_quota_mb = 100\n"

// An instance whose data is over its limit is stopped and does not start again, until
// there is less data or the limit is higher.
func TestStorageMeasured(t *testing.T) {
	bubble(t, notes(quota), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.systemd.SetStorage(alice, 85*mib, false)
		time.Sleep(40 * time.Second)
		s := w.state(alice, tenant.Awake)
		if s.Storage != 85*mib || s.StorageLimit != 100*mib || s.Reason != "its data is 85M of the 100M that it may be" {
			t.Errorf("nearly full: got %+v", s)
		}
		w.systemd.SetStorage(alice, 120*mib, false)
		time.Sleep(40 * time.Second)
		const reason = "its data is 120M and may be 100M"
		if s := w.state(alice, tenant.Asleep); s.Reason != reason {
			t.Errorf("over it: got reason %q, want %q", s.Reason, reason)
		}
		refused := func() {
			t.Helper()
			_, err := w.request(alice)
			var e *tenant.Error
			if !errors.As(err, &e) || e.Code != tenant.CodeUnavailable || e.Msg != "notes:alice is stopped: "+reason || e.Hint == "" || e.RetryAfter == 0 {
				t.Fatalf("got %v, want that it is stopped with the reason", err)
			}
			w.state(alice, tenant.Asleep)
			w.starts(alice, 1)
		}
		for range 10 { // more than the brake would take
			refused()
			time.Sleep(6 * time.Second)
		}
		// The daemon remembers it.
		w.restart(parse(t, notes(quota)))
		refused()
		// Less data: it is looked at again, soon.
		w.systemd.SetStorage(alice, 50*mib, false)
		refused()
		time.Sleep(6 * time.Second)
		w.served(alice, 2)
		// A higher limit counts at once.
		w.systemd.SetStorage(alice, 120*mib, false)
		time.Sleep(40 * time.Second)
		w.state(alice, tenant.Asleep)
		w.limit(set(tenant.Limits{tenant.LimitStorage: 200 * mib}))
		w.served(alice, 3)
		// What the hint says would help.
		w.systemd.SetStorage(alice, 900*mib, false)
		time.Sleep(40 * time.Second)
		_, err := w.request(alice)
		var e *tenant.Error
		if !errors.As(err, &e) || !strings.Contains(e.Hint, "`ten limit notes:alice --storage 1.6G`") {
			t.Errorf("far over it: got %v, want a limit told that is enough", err)
		}
		// And a lower one.
		w.limit(set(tenant.Limits{tenant.LimitStorage: 64 * mib}))
		w.state(alice, tenant.Asleep)
	})
}

// What writes a lot and ends at once is looked at as well.
func TestStorageOfShortLives(t *testing.T) {
	bubble(t, notes(quota+"idle_timeout = 1\n"), func(t *testing.T, w *world) {
		w.systemd.SetStorage(alice, 120*mib, false)
		w.spawn(alice)
		time.Sleep(2 * time.Second)
		w.state(alice, tenant.Asleep)
		time.Sleep(40 * time.Second)
		_, err := w.request(alice)
		code(t, err, tenant.CodeUnavailable)
		w.starts(alice, 1)
	})
}

// Where the file system enforces the limit nothing is stopped.
func TestStorageEnforced(t *testing.T) {
	bubble(t, notes(quota), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.systemd.SetStorage(alice, 120*mib, true)
		time.Sleep(2 * time.Minute)
		if s := w.state(alice, tenant.Awake); s.Storage != 120*mib || s.Reason == "" {
			t.Errorf("got %+v, want what it has and a warning", s)
		}
		w.served(alice, 1)
	})
}

// Without a limit nothing is measured.
func TestStorageWithoutLimit(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.spawn(alice)
		w.systemd.SetStorage(alice, 120*mib, false)
		time.Sleep(2 * time.Minute)
		if s := w.state(alice, tenant.Awake); s.Storage != 0 || s.Reason != "" {
			t.Errorf("got %+v, want that nobody looked", s)
		}
	})
}

// Data that takes long to measure holds nobody up: neither a start nor `ten limit`.
func TestStorageThatTakesLong(t *testing.T) {
	bubble(t, notes(quota), func(t *testing.T, w *world) {
		var mu sync.Mutex
		var takes time.Duration
		looks := 0
		w.systemd.SetLatency(func(op string) time.Duration {
			mu.Lock()
			defer mu.Unlock()
			if op != "measure" {
				return 0
			}
			looks++
			return takes
		})
		seen := func() int {
			mu.Lock()
			defer mu.Unlock()
			defer func() { looks = 0 }()
			return looks
		}
		w.systemd.SetStorage(alice, 120*mib, false)
		w.spawn(alice)
		time.Sleep(40 * time.Second)
		w.state(alice, tenant.Asleep)
		mu.Lock()
		takes = 20 * time.Second
		mu.Unlock()
		time.Sleep(6 * time.Second)

		begun := time.Now()
		_, err := w.request(alice)
		code(t, err, tenant.CodeUnavailable)
		since(t, begun, 5*time.Second)
		begun = time.Now()
		report, err := w.manager.Limits(t.Context(), alice)
		if err != nil || report.Usage.Storage != 120*mib {
			t.Errorf("limits: got %d, %v, want what was last seen", report.Usage.Storage, err)
		}
		since(t, begun, 5*time.Second)
		// What was cut short is looked at to its end.
		w.systemd.SetStorage(alice, 50*mib, false)
		time.Sleep(time.Minute)
		w.served(alice, 2)
		// And not as often as others.
		seen()
		time.Sleep(20 * time.Minute)
		if got := seen(); got < 4 || got > 8 {
			t.Errorf("got %d looks of 20 s in 20 minutes, want 5 or 6", got)
		}
	})
}

// That an instance is over its limit is said once, and not for each visitor.
func TestVisitorsOfOneOverItsLimitFillNoLog(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var log strings.Builder
		w.log = &log
		w.start(parse(t, notes(quota)))
		<-w.manager.Ready()
		for round := range 2 {
			w.systemd.SetStorage(alice, 120*mib, false)
			w.spawn(alice)
			time.Sleep(40 * time.Second)
			w.state(alice, tenant.Asleep)
			for range 10 {
				_, err := w.request(alice)
				code(t, err, tenant.CodeUnavailable)
				time.Sleep(6 * time.Second)
			}
			w.systemd.SetStorage(alice, 50*mib, false)
			time.Sleep(6 * time.Second)
			w.spawn(alice)
			time.Sleep(40 * time.Second)
			w.stop()
			if got := strings.Count(log.String(), "level=ERROR msg=\"wake failed\""); got != round+1 {
				t.Errorf("got %d lines in round %d, want one each", got, round)
			}
			w.start(parse(t, notes(quota)))
			<-w.manager.Ready()
		}
	})
}
