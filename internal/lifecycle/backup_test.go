package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

// backup takes a backup, to its end.
func (w *world) backup(id tenant.ID) (tenant.Backup, []byte) {
	w.t.Helper()
	b, write, drop, err := w.manager.Backup(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	defer drop()
	var out bytes.Buffer
	if err := write(w.t.Context(), &out); err != nil {
		w.t.Fatal(err)
	}
	return b, out.Bytes()
}

// copies checks how many copies of data there are.
func (w *world) copies(want int) {
	w.t.Helper()
	if got := w.systemd.Copies(); got != want {
		w.t.Errorf("got %d copies of data, want %d", got, want)
	}
}

// slowSnapshots has each copy take so long.
func (w *world) slowSnapshots(d time.Duration) {
	w.systemd.SetLatency(func(op string) time.Duration {
		if op == "snapshot" {
			return d
		}
		return 0
	})
}

// A copy is made of an app that is frozen; requests wait for its end, none is lost, and
// none is served by another process.
func TestBackupOfOneAwake(t *testing.T) {
	bubble(t, notes("idle_timeout = 600\n"), func(t *testing.T, w *world) {
		w.systemd.SetStorage(alice, 1000, false)
		w.spawn(alice)
		w.slowSnapshots(2 * time.Second)
		admitted, release := w.acquire(alice) // before, and connects meanwhile
		defer release()
		begun := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			b, _ := w.backup(alice)
			if b.State != tenant.Awake || b.Bytes != 1000 || b.FrozenMS != 2000 {
				t.Errorf("got %+v", b)
			}
		})
		time.Sleep(time.Second)
		w.active(alice, "frozen")
		for range 20 {
			wg.Go(func() {
				if got, err := w.request(alice); err != nil || got != "1" {
					t.Errorf("got run %q, %v, want the first", got, err)
				}
				since(t, begun, 2*time.Second)
			})
		}
		wg.Go(func() {
			got, err := exchange(tenant.WithSameProcess(t.Context()), admitted)
			if err != nil || got != "1" {
				t.Errorf("admitted before: got run %q, %v, want the first", got, err)
			}
		})
		wg.Wait()
		w.state(alice, tenant.Awake)
		w.active(alice, "active")
		w.starts(alice, 1)
		w.copies(0)
	})
}

// Two copies are made at a time; others wait for their turn, and lose nothing by it.
func TestBackupsTakeTurns(t *testing.T) {
	bubble(t, notes("idle_timeout = 600\n"), func(t *testing.T, w *world) {
		ids := []tenant.ID{{Service: "notes", Name: "a"}, {Service: "notes", Name: "b"}, {Service: "notes", Name: "c"}}
		for _, id := range ids {
			w.spawn(id)
		}
		w.slowSnapshots(time.Second)
		begun := time.Now()
		var wg sync.WaitGroup
		for _, id := range ids {
			wg.Go(func() { w.backup(id) })
		}
		wg.Wait()
		since(t, begun, 2*time.Second)
	})
}

// Who sleeps or dozes does so afterwards.
func TestBackupOfOneAtRest(t *testing.T) {
	bubble(t, notes("idle_timeout = 600\ndoze_timeout = 10\n"), func(t *testing.T, w *world) {
		w.spawn(alice)
		time.Sleep(15 * time.Second)
		w.state(alice, tenant.Dozing)
		if b, _ := w.backup(alice); b.State != tenant.Dozing {
			t.Errorf("got %+v", b)
		}
		w.state(alice, tenant.Dozing)
		w.active(alice, "frozen")
		w.served(alice, 1)

		w.register(bob)
		w.slowSnapshots(3 * time.Second)
		begun := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			if b, _ := w.backup(bob); b.State != tenant.Asleep || b.FrozenMS != 0 {
				t.Errorf("got %+v", b)
			}
		})
		time.Sleep(time.Second)
		w.starts(bob, 1)
		w.active(bob, "") // nothing can start it
		w.served(bob, 2)
		if took := time.Since(begun); took < 3*time.Second {
			t.Errorf("it was started after %v, while its data was copied", took)
		}
		wg.Wait()
		w.copies(0)
	})
}

// However a backup ends, the app goes on and nothing is left of it.
func TestBackupThatEndsEarly(t *testing.T) {
	bubble(t, notes("idle_timeout = 600\n"), func(t *testing.T, w *world) {
		w.spawn(alice)
		try := func(ctx context.Context) error {
			_, _, drop, err := w.manager.Backup(ctx, alice)
			if err == nil {
				drop()
			}
			return err
		}
		check := func(run int) {
			t.Helper()
			w.served(alice, run)
			w.active(alice, "active")
			w.copies(0)
		}
		w.systemd.Fail("snapshot", errors.New("disk on fire"))
		code(t, try(t.Context()), tenant.CodeInternal)
		check(1)
		w.systemd.Fail("snapshot", &tenant.Error{Code: tenant.CodeLimit, Msg: "no room"})
		code(t, try(t.Context()), tenant.CodeLimit)
		check(1)

		// The client leaves while it is copied.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w.systemd.Hang("snapshot")
		code(t, try(ctx), tenant.CodeUnavailable)
		check(1)

		// It would go on for ever.
		begun := time.Now()
		w.systemd.Hang("snapshot")
		code(t, try(t.Context()), tenant.CodeLimit)
		since(t, begun, 10*time.Minute)
		w.state(alice, tenant.Awake)

		// The app dies meanwhile: what was copied counts for nothing, and is copied again.
		w.slowSnapshots(time.Second)
		begun = time.Now()
		time.AfterFunc(500*time.Millisecond, func() { w.systemd.Crash(alice) })
		if err := try(t.Context()); err != nil || time.Since(begun) < 2*time.Second {
			t.Errorf("got %v after %v", err, time.Since(begun))
		}
		w.copies(0)
		time.Sleep(5 * time.Second)
		check(2)

		// Somebody wants it down.
		w.systemd.Hang("snapshot")
		done := make(chan error, 1)
		go func() { done <- try(t.Context()) }()
		synctest.Wait()
		begun = time.Now()
		if _, err := w.manager.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("the stop took %v", took)
		}
		code(t, <-done, tenant.CodeConflict)
		w.state(alice, tenant.Asleep)
		w.copies(0)

		// The client leaves while it is written, and while it waits.
		_, write, drop, err := w.manager.Backup(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		_, _, _, err = w.manager.Backup(t.Context(), alice)
		code(t, err, tenant.CodeConflict)
		_, err = w.manager.Restore(t.Context(), alice, strings.NewReader(""), tenant.RestoreOptions{})
		code(t, err, tenant.CodeConflict)
		if err := write(t.Context(), failing{}); err == nil {
			t.Error("got no error")
		}
		drop()
		w.copies(0)
		w.backup(alice)

		// A daemon that was killed has left a copy.
		if _, err := w.systemd.Snapshot(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.restart(parse(t, notes("")))
		w.copies(0)
	})
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// What cannot be frozen is not copied while it writes.
func TestBackupOfWhatCannotBeFrozen(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.systemd.SetApp(alice, lifecycletest.App{CannotFreeze: true})
		w.spawn(alice)
		_, _, _, err := w.manager.Backup(t.Context(), alice)
		code(t, err, tenant.CodeUnsupported)
		w.systemd.SetApp(bob, lifecycletest.App{Unfrozen: true})
		w.spawn(bob)
		_, _, _, err = w.manager.Backup(t.Context(), bob)
		code(t, err, tenant.CodeUnavailable)
		w.served(bob, 1)
		_, _, _, err = w.manager.Backup(t.Context(), tenant.ID{Service: "notes", Name: "nobody"})
		code(t, err, tenant.CodeNotFound)
		w.copies(0)
	})
}

// bytesOf is how much data an instance has.
func (w *world) bytesOf(id tenant.ID) int64 {
	w.t.Helper()
	n, _, err := w.systemd.Measure(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestRestore(t *testing.T) {
	bubble(t, notes("idle_timeout = 600\nstorage_quota_mb = 1\n"), func(t *testing.T, w *world) {
		w.systemd.SetStorage(alice, 1000, false)
		w.spawn(alice)
		_, packed := w.backup(alice)
		w.systemd.SetStorage(alice, 2000, false)
		restore := func(o tenant.RestoreOptions) (tenant.Restored, error) {
			return w.manager.Restore(t.Context(), alice, bytes.NewReader(packed), o)
		}
		_, err := restore(tenant.RestoreOptions{})
		code(t, err, tenant.CodeConflict)
		w.served(alice, 1) // it was not stopped for that
		res, err := restore(tenant.RestoreOptions{Force: true, KeepOld: true})
		if err != nil || res.Bytes != 1000 || res.From.Instance != alice || res.Kept == "" {
			t.Fatalf("got %+v, %v", res, err)
		}
		if got := w.bytesOf(alice); got != 1000 {
			t.Errorf("got %d bytes", got)
		}
		w.state(alice, tenant.Awake) // as before
		w.starts(alice, 2)

		// Another's, into one that sleeps.
		w.register(bob)
		if _, err := w.manager.Restore(t.Context(), bob, bytes.NewReader(packed), tenant.RestoreOptions{}); err != nil {
			t.Fatal(err)
		}
		w.state(bob, tenant.Asleep)
		if got := w.bytesOf(bob); got != 1000 {
			t.Errorf("bob: got %d bytes", got)
		}

		// What goes wrong leaves all as it was.
		for _, c := range []struct {
			op   string
			err  error
			want tenant.Code
		}{
			{"unpack", &tenant.Error{Code: tenant.CodeInvalid, Msg: "hostile"}, tenant.CodeInvalid},
			{"replace", errors.New("disk on fire"), tenant.CodeInternal},
		} {
			w.systemd.SetStorage(alice, 3000, false)
			w.systemd.Fail(c.op, c.err)
			_, err = restore(tenant.RestoreOptions{Force: true})
			code(t, err, c.want)
			if got := w.bytesOf(alice); got != 3000 {
				t.Errorf("%s: got %d bytes", c.op, got)
			}
			if _, err := w.request(alice); err != nil {
				t.Error(err)
			}
			w.copies(0)
		}
		_, err = w.manager.Restore(t.Context(), alice, strings.NewReader("nonsense"), tenant.RestoreOptions{Force: true})
		code(t, err, tenant.CodeInvalid)
		w.systemd.SetStorage(alice, 2<<20, false)
		_, large := w.backup(alice)
		_, err = w.manager.Restore(t.Context(), bob, bytes.NewReader(large), tenant.RestoreOptions{Force: true})
		code(t, err, tenant.CodeLimit)

		// Each is told of once.
		list, _ := w.told(w.events.Start())
		kinds := map[event.Kind]int{}
		for _, e := range list {
			kinds[e.Kind]++
		}
		if kinds[event.BackedUp] != 2 || kinds[event.Restored] != 2 {
			t.Errorf("got %d events of backups and %d of restores", kinds[event.BackedUp], kinds[event.Restored])
		}
	})
}

// A lease comes along, cut to what one may be here.
func TestImportOfALease(t *testing.T) {
	var packed []byte
	const ahead = 48 * time.Hour
	keep := func(d time.Duration) {
		bubble(t, notes("idle_timeout = 600\n"), func(t *testing.T, w *world) {
			w.systemd.SetStorage(alice, 1000, false)
			w.spawn(alice)
			time.Sleep(ahead) // the next one's clock is behind by that
			if _, err := w.manager.KeepAwake(t.Context(), alice, d); err != nil {
				t.Fatal(err)
			}
			_, packed = w.backup(alice)
		})
	}
	for d, want := range map[time.Duration]time.Duration{time.Hour: time.Hour + ahead, 366 * 24 * time.Hour: 366 * 24 * time.Hour} {
		keep(d)
		bubble(t, notes("idle_timeout = 600\n"), func(t *testing.T, w *world) {
			now := time.Now()
			if _, err := w.manager.Import(t.Context(), bob, bytes.NewReader(packed), tenant.RestoreOptions{}); err != nil {
				t.Fatal(err)
			}
			leases := w.state(bob, tenant.Asleep).Leases
			if len(leases) != 1 || leases[0].Until.Sub(now).Round(time.Minute) != want {
				t.Errorf("got %+v, want one for %v", leases, want)
			}
		})
	}
}

// An instance that has moved has what it had, but for what another has already.
func TestImport(t *testing.T) {
	text := notes("idle_timeout = 600\nrelease = \"v1\"\nargs = [\"{release}\"]\n")
	var packed []byte
	bubble(t, text, func(t *testing.T, w *world) {
		w.systemd.SetStorage(alice, 1000, false)
		w.register(alice)
		ctx := t.Context()
		_, err := w.manager.SetWeight(ctx, alice, tenant.Weight{N: 7, Set: true})
		_, lerr := w.manager.SetLimits(ctx, alice, tenant.LimitChange{Set: tenant.Limits{tenant.LimitMemory: 300 << 20, tenant.LimitTasks: 50}})
		_, _, derr := w.manager.AddDomain(ctx, "notes.alice.com", alice, false)
		_, perr := w.manager.Pause(ctx, alice, "moving", 0)
		rerr := w.manager.SetReleases(ctx, []registry.Release{{ID: alice, Release: "v2"}})
		if err := errors.Join(err, lerr, derr, perr, rerr); err != nil {
			t.Fatal(err)
		}
		var b tenant.Backup
		b, packed = w.backup(alice)
		if b.Entry.Release != "v2" || b.Entry.Paused == nil {
			t.Errorf("got %+v", b.Entry)
		}
		_, err = w.manager.Import(ctx, alice, bytes.NewReader(packed), tenant.RestoreOptions{})
		code(t, err, tenant.CodeConflict)
		_, err = w.manager.Import(ctx, bob, bytes.NewReader(packed), tenant.RestoreOptions{})
		code(t, err, tenant.CodeConflict)
		var e *tenant.Error
		if errors.As(err, &e); !strings.Contains(e.Msg, "notes.alice.com belongs to notes:alice") {
			t.Errorf("got %q, want whose the host name is", e.Msg)
		}
		if _, err := w.manager.Get(bob); err == nil {
			t.Error("bob was made all the same")
		}
		if _, err := w.manager.Import(ctx, bob, bytes.NewReader(packed), tenant.RestoreOptions{DataOnly: true}); err != nil {
			t.Fatal(err)
		}
		w.served(bob, 1)
		w.copies(0)
	})
	bubble(t, text, func(t *testing.T, w *world) {
		ctx := t.Context()
		for _, op := range []string{"replace", "unload"} {
			w.systemd.Fail(op, errors.New("disk on fire"))
			_, err := w.manager.Import(ctx, bob, bytes.NewReader(packed), tenant.RestoreOptions{})
			code(t, err, tenant.CodeInternal)
			if _, err := w.manager.Get(bob); err == nil {
				t.Errorf("%s failed: bob was made all the same", op)
			}
			w.copies(0)
		}
		res, err := w.manager.Import(ctx, bob, bytes.NewReader(packed), tenant.RestoreOptions{})
		if err != nil || res.From.Instance != alice {
			t.Fatalf("got %+v, %v", res, err)
		}
		check := func() {
			t.Helper()
			s := w.state(bob, tenant.Asleep)
			report, err := w.manager.Limits(ctx, bob)
			if err != nil {
				t.Fatal(err)
			}
			limits := tenant.Limits{}
			for _, l := range report.Limits {
				if l.From == tenant.FromInstance {
					limits[l.Limit] = l.Value
				}
			}
			owner, _ := w.manager.Domain("notes.alice.com")
			release, _ := w.releaseOf(bob)
			if s.Weight != (tenant.Weight{N: 7, Set: true}) || len(limits) != 2 || limits[tenant.LimitMemory] != 300<<20 || owner != bob || release.Release != "v2" {
				t.Errorf("got weight %+v, limits %v, release %+v, owner of the host name %s", s.Weight, limits, release, owner)
			}
			w.paused(bob, "moving", 5*time.Minute)
			if got := w.bytesOf(bob); got != 1000 {
				t.Errorf("got %d bytes", got)
			}
		}
		check()
		w.restart(parse(t, text))
		check()
	})
	// A service without releases here.
	bubble(t, notes(""), func(t *testing.T, w *world) {
		_, err := w.manager.Import(t.Context(), alice, bytes.NewReader(packed), tenant.RestoreOptions{})
		code(t, err, tenant.CodeConflict)
		w.copies(0)
	})
}
