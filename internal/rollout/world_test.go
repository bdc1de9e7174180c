package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tenement.dev/internal/config"
	"tenement.dev/internal/event"
	"tenement.dev/internal/lifecycle"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/rollout"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// text is a service with releases; its instances sleep after an hour.
const text = `
[settings]
data_dir = "/nonexistent/data"
[service.notes]
command = "/bin/true {release}"
listen = "unix"
release = "v1"
idle_timeout = 3600
`

// world is an Engine over a real Manager and registry, and an in-memory service manager.
type world struct {
	t       *testing.T
	dir     string
	systemd *lifecycletest.Systemd
	store   *registry.Registry
	manager *lifecycle.Manager
	meter   *rollout.Meter
	saves   *saves
	events  *event.Bus // of all daemons
	engine  *rollout.Engine
	stop    func() // ends the daemon's part
}

// saves is a registry whose next write can be made to fail.
type saves struct {
	*registry.Registry
	fail atomic.Bool
}

func (s *saves) SaveRollout(ctx context.Context, r registry.Rollout) error {
	if s.fail.CompareAndSwap(true, false) {
		return errors.New("disk full")
	}
	return s.Registry.SaveRollout(ctx, r)
}

// bubble runs f in a bubble, whose clock is the test's.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	dir := t.TempDir()
	fakeclock.Test(t, func(t *testing.T) {
		w := &world{t: t, dir: dir, systemd: lifecycletest.New(), events: event.NewBus(event.Kept)}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { w.systemd.Run(ctx) })
		w.start()
		defer wg.Wait()
		defer cancel()
		defer func() { w.stop() }()
		f(t, w)
	})
}

// start starts what a daemon has.
func (w *world) start() {
	w.t.Helper()
	cfg, err := config.Parse("tenement.toml", []byte(text), "/")
	if err != nil {
		w.t.Fatal(err)
	}
	if w.store, err = registry.Open(context.Background(), filepath.Join(w.dir, "registry.db")); err != nil {
		w.t.Fatal(err)
	}
	w.saves = &saves{Registry: w.store}
	log := slog.New(slog.NewTextHandler(w.t.Output(), nil))
	var engine *rollout.Engine
	w.manager = lifecycle.New(lifecycle.Options{
		Config: cfg, Controller: w.systemd, Store: w.store, Doorbell: w.systemd.Doorbell, Log: log,
		SocketDir: func(id tenant.ID) string { return "/run/tenement/app/" + id.Service + "@" + id.Name },
		Refused:   func(id tenant.ID, release string, err error) { engine.Refused(id, release, err) },
	})
	w.meter = &rollout.Meter{}
	engine = rollout.New(rollout.Options{Fleet: w.manager, Store: w.saves, Meter: w.meter, Events: w.events, Log: log})
	w.engine = engine
	ctx, cancel := context.WithCancel(context.Background())
	manager, store := w.manager, w.store
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := manager.Run(ctx); err != nil {
			w.t.Errorf("manager: %v", err)
		}
	})
	<-manager.Ready()
	wg.Go(func() {
		if err := engine.Run(ctx); err != nil {
			w.t.Errorf("engine: %v", err)
		}
	})
	w.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := store.Close(); err != nil {
			w.t.Errorf("registry: %v", err)
		}
	})
}

// restart ends the daemon's part and starts it again.
func (w *world) restart() {
	w.stop()
	w.start()
}

func id(name string) tenant.ID { return tenant.ID{Service: "notes", Name: name} }

// spawn makes n awake instances, "awake0" and so on, and m sleeping ones, "asleep0" ….
func (w *world) spawn(n, m int) {
	w.t.Helper()
	for i := range n + m {
		who := id(fmt.Sprintf("awake%d", i))
		if i >= n {
			who = id(fmt.Sprintf("asleep%d", i-n))
		}
		if _, _, err := w.manager.Spawn(w.t.Context(), who); err != nil {
			w.t.Fatal(err)
		}
		if i >= n {
			if _, err := w.manager.Stop(w.t.Context(), who); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// onRelease has apps of a release behave as app says.
func (w *world) onRelease(release string, app lifecycletest.App) {
	w.systemd.SetAppOf(func(spec tenant.Spec) (lifecycletest.App, bool) { return app, slices.Contains(spec.Argv, release) })
}

// begin begins a rollout.
func (w *world) begin(release string, plan tenant.RolloutPlan) {
	w.t.Helper()
	if _, err := w.engine.Begin(w.t.Context(), "notes", release, plan); err != nil {
		w.t.Fatal(err)
	}
}

// end waits for the end of the rollout and checks it.
func (w *world) end(want tenant.RolloutState) tenant.Rollout {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Hour)
	defer cancel()
	from := 0
	for {
		_, next, r, err := w.engine.Follow(ctx, "notes", from)
		if err != nil {
			w.t.Fatal(err)
		}
		if !r.State.Active() {
			if r.State != want {
				w.t.Fatalf("got %s (%s), want %s", r.State, r.Reason, want)
			}
			return r
		}
		from = next
	}
}

func (w *world) status() tenant.Rollout {
	w.t.Helper()
	r, err := w.engine.Status(w.t.Context(), "notes")
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// all checks that all instances have a release, and run with it.
func (w *world) all(release string) {
	w.t.Helper()
	for _, r := range w.manager.Releases("notes") {
		running := r.State != tenant.Asleep && r.State != tenant.Failed
		if r.Release != release || running && !slices.Contains(w.systemd.Spec(r.ID).Argv, release) {
			w.t.Errorf("%s (%v) has %s, its units %q, want %s", r.ID, r.State, r.Release, w.systemd.Spec(r.ID).Argv, release)
		}
		if r.Step != tenant.StepNone {
			w.t.Errorf("%s is at step %d, want it settled", r.ID, r.Step)
		}
	}
}

// with counts the instances with a release whose names begin with prefix.
func (w *world) with(prefix, release string) (n int) {
	for _, r := range w.manager.Releases("notes") {
		if strings.HasPrefix(r.ID.Name, prefix) && r.Release == release {
			n++
		}
	}
	return n
}

func code(t *testing.T, err error, want tenant.Code) {
	t.Helper()
	if got := tenant.CodeOf(err); got != want {
		t.Fatalf("got code %q (%v), want %q", got, err, want)
	}
}
