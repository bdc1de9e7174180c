package registry

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

var (
	created = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	later   = created.Add(time.Hour)
)

func TestSurvivesReopen(t *testing.T) {
	path := newPath(t)
	want := []Instance{
		{ID: id("blog", "zoe"), Port: 20001, Created: created},
		{ID: id("notes", "alice"), Port: 20000, Created: created, LastActive: later, Wakes: 3, Thaws: 7},
		{ID: id("notes", "bob"), Created: created},
		{ID: id("notes", "bob-2"), Created: created},
	}
	r, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{3, 1, 0, 2} {
		mustAdd(t, r, want[i])
	}
	if got := mustList(t, r); !slices.Equal(got, want) {
		t.Errorf("before close: got %v, want %v", got, want)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := mustList(t, mustOpen(t, path)); !slices.Equal(got, want) {
		t.Errorf("after reopen: got %v, want %v", got, want)
	}
}

func TestModes(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	mustAdd(t, r, Instance{ID: id("notes", "alice")})
	for file, want := range map[string]os.FileMode{
		filepath.Dir(path): 0o700, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600,
	} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: got mode %o, want %o", file, got, want)
		}
	}

	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("after a chmod to 644 and reopen: got mode %o, want 600", got)
	}
}

func TestAddIsIdempotent(t *testing.T) {
	r := mustOpen(t, newPath(t))
	want := Instance{ID: id("notes", "alice"), Port: 20000, Created: created, Wakes: 1}
	mustAdd(t, r, want)
	added, err := r.Add(t.Context(), Instance{ID: want.ID, Port: 20001, Created: later, Wakes: 9})
	if added || err != nil {
		t.Errorf("second add: got %v, %v, want false, nil", added, err)
	}
	if got := mustList(t, r); !slices.Equal(got, []Instance{want}) {
		t.Errorf("got %v, want %v", got, want)
	}

	before := time.Now()
	mustAdd(t, r, Instance{ID: id("notes", "bob")})
	got := mustList(t, r)[1].Created
	if got.Before(before.Truncate(time.Microsecond)) || got.After(time.Now()) {
		t.Errorf("add without Created: got %v, want now", got)
	}
}

func TestRemove(t *testing.T) {
	r := mustOpen(t, newPath(t))
	mustAdd(t, r, Instance{ID: id("notes", "alice"), Port: 20000})
	for range 2 { // the second one is unknown
		if err := r.Remove(t.Context(), id("notes", "alice")); err != nil {
			t.Fatal(err)
		}
	}
	if got := mustList(t, r); len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
	mustAdd(t, r, Instance{ID: id("notes", "bob"), Port: 20000}) // the port is free again
}

func TestPortIsUnique(t *testing.T) {
	r := mustOpen(t, newPath(t))
	alice, bob := id("notes", "alice"), id("notes", "bob")
	mustAdd(t, r, Instance{ID: alice, Port: 20000, Created: created})
	mustAdd(t, r, Instance{ID: bob, Created: created})

	_, err := r.Add(t.Context(), Instance{ID: id("notes", "carol"), Port: 20000})
	if got := tenant.CodeOf(err); got != tenant.CodeConflict {
		t.Errorf("add with a taken port: got %v, want %s", err, tenant.CodeConflict)
	}
	for _, c := range []struct {
		id   tenant.ID
		port int
		want tenant.Code
	}{
		{bob, 20000, tenant.CodeConflict},
		{bob, 70000, tenant.CodeInvalid},
		{bob, -1, tenant.CodeInvalid},
		{id("notes", "nobody"), 20005, tenant.CodeNotFound},
		{alice, 20000, ""}, // its own
		{bob, 20001, ""},
		{alice, 0, ""},
		{bob, 0, ""}, // none is not taken by alice's none
		{bob, 20000, ""},
	} {
		err := r.SetPort(t.Context(), c.id, c.port)
		if got := tenant.CodeOf(err); got != c.want {
			t.Errorf("set port of %s to %d: got %v, want code %q", c.id, c.port, err, c.want)
		}
	}
	want := []Instance{{ID: alice, Created: created}, {ID: bob, Port: 20000, Created: created}}
	if got := mustList(t, r); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What is told to have changed waits for the disk, but ports and activity, for which others wait.
func TestWaitsForTheDisk(t *testing.T) {
	const normal, full = 1, 2 // sqlite.org/pragma.html
	r := mustOpen(t, newPath(t))
	check := func(when string, db interface {
		QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	}, want int) {
		t.Helper()
		var got int
		if err := db.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&got); err != nil || got != want {
			t.Errorf("synchronous %s: got %d, %v, want %d", when, got, err, want)
		}
	}
	alice := Instance{ID: id("notes", "alice"), Created: created}
	mustAdd(t, r, alice)
	check("at first", r.db, full)
	if err := r.relaxed(t.Context(), func(db execer) error {
		check("of what may wait", db.(*sql.Conn), normal)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.SetPort(t.Context(), alice.ID, 20000), r.SaveActivity(t.Context(), []Instance{alice})); err != nil {
		t.Fatal(err)
	}
	if err := r.SetPort(t.Context(), id("notes", "bob"), 20001); tenant.CodeOf(err) != tenant.CodeNotFound {
		t.Errorf("port of nobody: got %v, want %s", err, tenant.CodeNotFound)
	}
	check("after these", r.db, full)
	ctx, cancel := context.WithCancel(t.Context())
	if err := r.relaxed(ctx, func(execer) error { cancel(); return nil }); err != nil {
		t.Fatal(err)
	}
	check("after one that was left", r.db, full)
}

func TestAddRefusesOddNames(t *testing.T) {
	r := mustOpen(t, newPath(t))
	for _, id := range []tenant.ID{{}, id("notes", ""), id("../x", "a"), id("notes", "a:b"), id("Notes", "a")} {
		if _, err := r.Add(t.Context(), Instance{ID: id}); tenant.CodeOf(err) != tenant.CodeInvalid {
			t.Errorf("add %q: got %v, want %s", id, err, tenant.CodeInvalid)
		}
	}
	if got := mustList(t, r); len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
}

func TestSaveActivity(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	alice, bob := id("notes", "alice"), id("notes", "bob")
	mustAdd(t, r, Instance{ID: alice, Port: 20000, Created: created, LastActive: later, Wakes: 5, Thaws: 5})
	mustAdd(t, r, Instance{ID: bob, Created: created})
	wake := tenant.Wake{Kind: tenant.WakeCold, At: created, Cause: tenant.CauseOperator, Queue: 1, UnitStart: 2, Total: 3 * time.Millisecond}
	err := r.SaveActivity(t.Context(), []Instance{
		{ID: alice, Port: 1, Created: later, LastActive: created, Wakes: 4, Thaws: 6}, // older, but for Thaws
		{ID: bob, LastActive: later, Wakes: 1, RestsSince: later, Rested: "it ended", Reason: `the "app" ended`,
			WokenBy: tenant.CauseOperator, WokenAt: created, LastWake: wake},
		{ID: id("notes", "removed"), LastActive: later, Wakes: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Instance{
		{ID: alice, Port: 20000, Created: created, LastActive: later, Wakes: 5, Thaws: 6},
		{ID: bob, Created: created, LastActive: later, Wakes: 1, RestsSince: later, Rested: "it ended", Reason: `the "app" ended`,
			WokenBy: tenant.CauseOperator, WokenAt: created, LastWake: wake},
	}
	if got := mustList(t, r); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := r.SaveActivity(t.Context(), []Instance{{ID: bob, LastActive: later, Wakes: 2, Runs: tenant.Dozing, RunsSince: later, Process: 7}}); err != nil {
		t.Fatal(err)
	}
	want[1] = Instance{ID: bob, Created: created, LastActive: later, Wakes: 2, Runs: tenant.Dozing, RunsSince: later, Process: 7}
	if got := mustList(t, r); !slices.Equal(got, want) {
		t.Errorf("awake again: got %v, want %v", got, want)
	}
	if err := r.SaveActivity(t.Context(), nil); err != nil {
		t.Errorf("nothing to save: got %v, want nil", err)
	}
}

// A daemon takes over from one that left in order only where that one said so, once.
func TestTakeOver(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	for i, want := range []bool{false, false, true, false} {
		if i == 2 {
			if err := r.Leave(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			r = mustOpen(t, path)
		}
		if got, err := r.TakeOver(t.Context()); err != nil || got != want {
			t.Errorf("daemon %d: got %v, %v, want %v", i, got, err, want)
		}
	}
}

func TestCanceledContext(t *testing.T) {
	r := mustOpen(t, newPath(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Add(ctx, Instance{ID: id("notes", "alice")}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	mustAdd(t, r, Instance{ID: id("notes", "alice")}) // the connection is still good
}

func TestConcurrentUse(t *testing.T) {
	r := mustOpen(t, newPath(t))
	const workers, each = 8, 25
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				in := Instance{ID: id("notes", fmt.Sprintf("t%d", i)), Wakes: 1} // all workers the same
				if _, err := r.Add(t.Context(), in); err != nil {
					t.Error(err)
				}
				own := id(fmt.Sprintf("own%d", w), fmt.Sprintf("t%d", i))
				if _, err := r.Add(t.Context(), Instance{ID: own, Port: 20000 + w*each + i}); err != nil {
					t.Error(err)
				}
				in.Wakes = int64(w*each + i)
				if err := r.SaveActivity(t.Context(), []Instance{in}); err != nil {
					t.Error(err)
				}
				if _, err := r.Instances(t.Context()); err != nil {
					t.Error(err)
				}
				if i%2 == 0 {
					if err := r.Remove(t.Context(), own); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	list := mustList(t, r)
	if got, want := len(list), each+workers*(each/2); got != want {
		t.Errorf("got %d instances, want %d", got, want)
	}
	for _, in := range list {
		var i int
		if n, _ := fmt.Sscanf(in.ID.String(), "notes:t%d", &i); n != 1 {
			continue
		}
		if want := int64((workers-1)*each + i); in.Wakes != want {
			t.Errorf("%s: got %d wakes, want %d, the highest written", in.ID, in.Wakes, want)
		}
	}
}

// A cost that is quadratic takes many times the bound. It is one of the processor's time: a
// busy machine takes no more of that.
func TestManyInstances(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	const n = manyInstances
	fill(t, r, n)
	ctx, spent := withProcessor(t, time.Minute)

	list, err := r.Instances(ctx)
	if err != nil {
		t.Fatalf("list %d instances: %v after %v of the processor", n, err, spent())
	}
	t.Logf("listed after %v of the processor", spent())
	if len(list) != n {
		t.Fatalf("got %d instances, want %d", len(list), n)
	}
	if !slices.IsSortedFunc(list, func(a, b Instance) int {
		return slices.Compare([]string{a.ID.Service, a.ID.Name}, []string{b.ID.Service, b.ID.Name})
	}) {
		t.Error("the list is not sorted by service and name")
	}

	for i := range list {
		list[i].LastActive, list[i].Wakes = later, 1
	}
	if err := r.SaveActivity(ctx, list); err != nil {
		t.Fatalf("save the activity of %d instances: %v after %v of the processor", n, err, spent())
	}
	t.Logf("saved after %v of the processor", spent())
	for _, in := range mustList(t, r) {
		if !in.LastActive.Equal(later) || in.Wakes != 1 {
			t.Fatalf("%s: got %v, %d, want %v, 1", in.ID, in.LastActive, in.Wakes, later)
		}
	}

	again, err := Open(ctx, path)
	if err != nil {
		t.Fatalf("open a registry of %d instances: %v after %v of the processor", n, err, spent())
	}
	t.Logf("opened after %v of the processor", spent())
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// withProcessor gives a context that ends when this process has spent so much of the
// processor's time, or with the test.
func withProcessor(t *testing.T, bound time.Duration) (ctx context.Context, spent func() time.Duration) {
	t.Helper()
	now := func() time.Duration {
		var use syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
			t.Errorf("ask for the time spent: %v", err)
		}
		return time.Duration(use.Utime.Nano() + use.Stime.Nano())
	}
	begun := now()
	spent = func() time.Duration { return now() - begun }
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		look := time.NewTicker(50 * time.Millisecond)
		defer look.Stop()
		for spent() < bound {
			select {
			case <-look.C:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	})
	t.Cleanup(func() {
		cancel()
		watching.Wait()
	})
	return ctx, spent
}

// fill registers n instances in one transaction.
func fill(t *testing.T, r *Registry, n int) {
	t.Helper()
	tx, err := r.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	insert, err := tx.PrepareContext(t.Context(), sqlAdd)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		name := fmt.Sprintf("t%d", (i*7919)%n) // 7919 is prime: every number once, unsorted
		if _, err := insert.ExecContext(t.Context(), fmt.Sprintf("service%d", i%10), name,
			i%60000*(1-i/60000), micros(created), 0, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}
