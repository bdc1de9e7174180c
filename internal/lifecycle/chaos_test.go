package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

// TestRandomOrders gives orders by chance, all at once, while requests come, apps crash, others
// start, stop and take away units, the service manager and the registry fail, and the daemon is
// killed. Whatever comes of that: nobody waits for ever, and in the end all instances can be had,
// and what is believed is true.
func TestRandomOrders(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for i := range uint64(*schedules / 2) {
		t.Run(fmt.Sprintf("seed %d", seed+i), func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.log, w.killed = io.Discard, true
				orders(t, w, rand.New(rand.NewPCG(seed+i, 1)))
			})
		})
	}
}

func orders(t *testing.T, w *world, r *rand.Rand) {
	var mu sync.Mutex
	n := func(below int) int {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(below)
	}
	upTo := func(d time.Duration) time.Duration { return time.Duration(n(int(d) + 1)) }
	settings := "[settings]\nmax_restarts = 1000\nbackoff_max_ms = 2000\ndoorbells = 1\ndata_dir"
	if n(2) == 0 {
		w.marks = newMarks()
		settings = strings.Replace(settings, "doorbells", "armed = 2\ndoorbells", 1)
	}
	texts := []string{
		strings.Replace(notes("doze_timeout = 1\nidle_timeout = 2\nstartup_timeout = 5\nstop_grace = 1\non_demand = true\nmax_instances = 10"), "[settings]\ndata_dir", settings, 1),
		strings.Replace(notes("idle_timeout = 3\nstartup_timeout = 4\nstop_grace = 2\nrestart = \"always\"\non_demand = true\nmax_instances = 10"), "[settings]\ndata_dir", settings, 1),
	}
	ids := []tenant.ID{alice, bob, {Service: "notes", Name: "carol"}}
	for _, id := range ids {
		w.systemd.SetApp(id, lifecycletest.App{
			Boot: upTo(20 * time.Millisecond), Ready: upTo(200 * time.Millisecond), Serve: upTo(50 * time.Millisecond),
			Freeze: upTo(50 * time.Millisecond), Stop: upTo(500 * time.Millisecond), StopFails: n(2) == 1,
		})
	}
	w.start(parse(t, texts[0]))
	<-w.manager.Ready()
	for _, id := range ids {
		w.spawn(id)
	}
	w.systemd.SetLatency(func(op string) time.Duration { return upTo(20 * time.Millisecond) })
	over := make(chan struct{})
	var wg sync.WaitGroup
	for k := range 6 {
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				case <-time.After([]time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second}[n(4)] + upTo(100*time.Millisecond)):
				}
				mu.Lock()
				m := w.manager
				mu.Unlock()
				id := ids[n(len(ids))]
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
				begun := time.Now()
				what := ""
				switch v := n(16); {
				case v < 5 || k < 2:
					what = "request"
					e, release, err := m.Acquire(ctx, id, tenant.Visit{})
					if err == nil {
						_, _ = exchange(ctx, e)
						release()
					}
				case v == 5:
					what = "stop"
					_, _ = m.Stop(ctx, id)
				case v == 6:
					what = "restart"
					_, _ = m.Restart(ctx, id)
				case v == 7:
					what = "destroy"
					_ = m.Destroy(ctx, id)
				case v == 8:
					what = "spawn"
					_, _, _ = m.Spawn(ctx, id)
				case v == 9:
					what = "doze"
					_, _ = m.Doze(ctx, id)
				case v == 10:
					what = "keep awake"
					_, _ = m.KeepAwake(ctx, id, upTo(2*time.Second))
				case v == 11:
					what = "limit"
					_, _ = m.SetLimits(ctx, id, tenant.LimitChange{Set: tenant.Limits{tenant.LimitMemory: int64(64+n(64)) << 20}})
				case v == 12:
					what = "backup"
					if _, write, drop, err := m.Backup(ctx, id); err == nil {
						_ = write(ctx, io.Discard)
						drop()
					}
				case v == 14:
					what = "pause"
					_, _ = m.Pause(ctx, id, "", upTo(2*time.Second))
				case v == 15:
					what = "add a domain"
					_, _, _ = m.AddDomain(ctx, id.Name+".example.com", id, false)
				case v == 13:
					what = "reload"
					m.SetConfig(parse(t, texts[n(2)]))
				}
				if ctx.Err() != nil {
					t.Errorf("%s of %s took %v", what, id, time.Since(begun))
				}
				cancel()
			}
		})
	}
	for range 40 {
		time.Sleep(upTo(2 * time.Second))
		id := ids[n(len(ids))]
		switch n(9) {
		case 0:
			w.systemd.Crash(id)
		case 1:
			w.systemd.StopUnit(id)
		case 2:
			w.systemd.Start(id)
		case 3:
			w.systemd.DropDoorbell(id)
		case 4:
			w.systemd.Fail([]string{"load", "unload", "stop", "limit", "wipe", "snapshot"}[n(6)], errors.New("the bus is away"))
		case 5:
			w.systemd.Hang([]string{"load", "unload", "stop", "list"}[n(4)])
		case 6:
			w.store.fail([]string{"save", "setbrake", "remove", "add", "setlimits", "setport"}[n(6)], errors.New("the disk is full"))
		default:
			w.store.kill(true)
			w.stop()
			w.store.kill(false)
			mu.Lock()
			w.start(parse(t, texts[r.IntN(2)]))
			mu.Unlock()
		}
	}
	close(over)
	wg.Wait()
	w.systemd.Mend()
	w.store.mend()
	time.Sleep(10 * time.Minute)
	for _, s := range w.manager.List() {
		if s.State != tenant.Asleep || s.InFlight != 0 {
			t.Errorf("%s: got it %v (%s) with %d in flight, want it asleep", s.ID, s.State, s.Reason, s.InFlight)
		}
		if got := w.systemd.Active(s.ID); (got != "inactive" && got != "failed" && got != "") != s.Armed {
			t.Errorf("%s: got ActiveState %q, and armed %v", s.ID, got, s.Armed)
		}
	}
	w.systemd.SetLatency(func(string) time.Duration { return 0 })
	for _, id := range ids {
		_, _ = w.manager.Unpause(t.Context(), id)
		if _, err := w.request(id); err != nil {
			t.Errorf("%s at the end: %v", id, err)
		}
		w.state(id, tenant.Awake)
		if err := w.manager.Destroy(t.Context(), id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if got := w.systemd.Active(id); got != "" {
			t.Errorf("%s: got ActiveState %q, want it gone", id, got)
		}
	}
	if starts, held := w.manager.Queue(); starts.Queued != 0 || starts.Starting != 0 || held != 0 {
		t.Errorf("got %+v and %d held at the end", starts, held)
	}
}
