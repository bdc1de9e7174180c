package lifecycletest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/lifecycle"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// Bench is a service manager for Conform to try.
type Bench struct {
	Controller lifecycle.Controller
	Doorbell   func(tenant.ID) lifecycle.Doorbell
	// Spec gives an app that answers HTTP with 200 and ends at SIGTERM.
	Spec func(tenant.ID) tenant.Spec
	// Exits gives an app that exits at once, Hangs one that accepts no connection,
	// with a short StartupTimeout.
	Exits, Hangs func(tenant.ID) tenant.Spec
	// Crash kills the app of a running instance.
	Crash func(tenant.ID)
	// Limits gives the limits that a loaded unit has now, of those that Conform sets.
	Limits func(tenant.ID) tenant.Limits
	// Data has the instance, which has been loaded, keep so many bytes.
	Data func(id tenant.ID, bytes int64)
	// Quick is for how long a start, a stop or a hint may take at most.
	Quick time.Duration
}

// Conform tries the semantics that lifecycle.Manager relies on. Each open gives a
// Bench that knows no instance.
func Conform(t *testing.T, open func(t *testing.T) Bench) {
	for _, c := range []struct {
		name string
		try  func(*testing.T, *bench)
	}{
		{"unknown instances", unknown},
		{"load does not start", loadDoesNotStart},
		{"a ring starts", ringStarts},
		{"parallel rings start once", parallelRings},
		{"loading again", loadAgain},
		{"stop leaves the doorbell", stopLeavesDoorbell},
		{"a ring during a stop", ringDuringStop},
		{"crash", crash},
		{"unload", unload},
		{"doze and thaw", dozeAndThaw},
		{"freeze", freeze},
		{"a probe changes nothing", probeChangesNothing},
		{"armed", armed},
		{"stop and unload of a dozing one", stopDozing},
		{"limits", limits},
		{"data", data},
		{"snapshots and arrivals", snapshots},
		{"an app that exits", appExits},
		{"an app that hangs", appHangs},
		{"a caller that leaves", callerLeaves},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{Bench: open(t), t: t, id: tenant.ID{Service: "conform", Name: "a"}}
			c.try(t, b)
			b.must(b.Controller.Unload(b.ctx(), b.id))
		})
	}
}

func unknown(t *testing.T, b *bench) {
	b.must(b.Controller.Stop(b.ctx(), b.id))
	b.must(b.Controller.Unload(b.ctx(), b.id))
	b.must(b.Controller.Wipe(b.ctx(), b.id, true))
	if s, ok := b.status(); ok {
		t.Errorf("got %+v, want nothing", s)
	}
	b.noDoorbell()
}

func loadDoesNotStart(t *testing.T, b *bench) {
	b.load()
	s, ok := b.status()
	if want := (units.Status{ID: b.id, Doorbell: true, Active: "inactive"}); !ok || s.ID != want.ID || s.Doorbell != want.Doorbell || s.Active != want.Active {
		t.Errorf("got %+v, want %+v", s, want)
	}
}

func ringStarts(t *testing.T, b *bench) {
	b.load()
	b.quiet()
	answer := b.do(ingress.Ready)
	if answer.ReadyAt < answer.InitAt || answer.InitAt == 0 || answer.Dozing {
		t.Errorf("got %+v, want it ready after its beginning and not dozing", answer)
	}
	b.hinted()
	if s := b.becomes("active"); !s.Doorbell {
		t.Error("the doorbell of a running instance does not count as one")
	}
	b.must(b.get())
	b.must(b.get())
	if again := b.do(ingress.Status); again.InitAt != answer.InitAt {
		t.Errorf("got another process (%d, then %d)", answer.InitAt, again.InitAt)
	}
}

func parallelRings(t *testing.T, b *bench) {
	b.load()
	begun := make(chan int64, 20)
	var wg sync.WaitGroup
	for i := range cap(begun) {
		wg.Go(func() {
			if i%2 == 0 {
				if err := b.get(); err != nil {
					t.Error(err)
				}
			}
			answer, err := b.Doorbell(b.id).Do(b.ctx(), ingress.Ready)
			if err != nil {
				t.Error(err)
			}
			begun <- answer.InitAt
		})
	}
	wg.Wait()
	first := <-begun
	for range cap(begun) - 1 {
		if at := <-begun; at != first {
			t.Fatalf("two processes, begun at %d and %d", first, at)
		}
	}
}

func loadAgain(_ *testing.T, b *bench) {
	b.load()
	b.load()
	b.do(ingress.Ready)
	b.load() // also while it runs, which ends it
	b.becomes("inactive")
	b.must(b.get())
}

func stopLeavesDoorbell(t *testing.T, b *bench) {
	b.load()
	first := b.do(ingress.Ready)
	b.becomes("active")
	b.quiet()
	b.must(b.Controller.Stop(b.ctx(), b.id))
	if s, _ := b.status(); s.Active != "inactive" || !s.Doorbell {
		t.Errorf("got %+v, want it inactive with its doorbell", s)
	}
	b.hinted()
	b.must(b.Controller.Stop(b.ctx(), b.id))
	if second := b.do(ingress.Ready); second.InitAt == first.InitAt {
		t.Error("got the same process after a stop")
	}
}

// Whoever rings during a stop is answered by the old process, told to ring again, or
// waits for the next one; nobody is lost.
func ringDuringStop(t *testing.T, b *bench) {
	b.load()
	for range 5 {
		b.do(ingress.Ready)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := b.Controller.Stop(b.ctx(), b.id); err != nil {
				t.Error(err)
			}
		})
		for range 10 {
			wg.Go(func() {
				for {
					_, err := b.Doorbell(b.id).Do(b.ctx(), ingress.Ready)
					var refusal *ingress.Refusal
					if errors.Is(err, ingress.ErrHungUp) || errors.As(err, &refusal) && refusal.Class == ingress.ClassGone {
						continue
					}
					if err != nil {
						t.Error(err)
					}
					return
				}
			})
		}
		wg.Wait()
	}
}

func crash(t *testing.T, b *bench) {
	b.load()
	first := b.do(ingress.Ready)
	b.becomes("active")
	b.quiet()
	b.Crash(b.id)
	b.hinted()
	s := b.becomes("failed")
	if !s.Doorbell || s.Exit.Result == "" || s.Exit.Result == "success" {
		t.Errorf("got %+v, want its doorbell and how it ended", s)
	}
	if second := b.do(ingress.Ready); second.InitAt == first.InitAt {
		t.Error("got the same process after a crash")
	}
	// A stop clears a failed unit, so that nobody takes it for news.
	b.becomes("active")
	b.Crash(b.id)
	b.becomes("failed")
	b.must(b.Controller.Stop(b.ctx(), b.id))
	b.becomes("inactive")
}

func unload(t *testing.T, b *bench) {
	b.load()
	b.do(ingress.Ready)
	b.must(b.Controller.Unload(b.ctx(), b.id))
	if s, ok := b.status(); ok {
		t.Errorf("got %+v, want nothing", s)
	}
	b.noDoorbell()
	b.must(b.Controller.Unload(b.ctx(), b.id))
	b.load()
	b.do(ingress.Ready)
}

func dozeAndThaw(t *testing.T, b *bench) {
	b.load()
	first := b.do(ingress.Ready)
	if a := b.do(ingress.Doze); !a.Dozing {
		t.Errorf("doze: got %+v, want it to doze", a)
	}
	if a := b.do(ingress.Status); !a.Dozing || a.InitAt != first.InitAt {
		t.Errorf("status: got %+v, want the same process dozing", a)
	}
	if a := b.do(ingress.Ready); !a.Dozing || a.InitAt != first.InitAt {
		t.Errorf("ready: got %+v, want that the same process dozed until now", a)
	}
	if a := b.do(ingress.Status); a.Dozing {
		t.Errorf("status: got %+v, want it awake", a)
	}
	b.do(ingress.Doze)
	b.do(ingress.Doze)
	b.must(b.get()) // a connection thaws too
	if s, _ := b.status(); s.Active != "active" {
		t.Errorf("got ActiveState %q, want active", s.Active)
	}
}

// A freeze lasts until it is let go, and leaves the app as it was; who wants the app awake
// waits for its end. It is told of a stop.
func freeze(t *testing.T, b *bench) {
	b.load()
	first := b.do(ingress.Ready)
	hold := func(dozes bool) func(context.Context) error {
		t.Helper()
		release, a, err := b.Doorbell(b.id).Freeze(b.ctx())
		b.must(err)
		if a.Dozing != dozes || a.InitAt != first.InitAt {
			t.Errorf("freeze: got %+v, want the same process, dozing before: %t", a, dozes)
		}
		if a := b.do(ingress.Status); !a.Dozing {
			t.Errorf("status: got %+v, want it frozen", a)
		}
		return release
	}
	b.must(hold(false)(b.ctx()))
	if a := b.do(ingress.Status); a.Dozing {
		t.Errorf("let go: got %+v, want it awake", a)
	}
	b.do(ingress.Doze)
	b.must(hold(true)(b.ctx()))
	if a := b.do(ingress.Status); !a.Dozing {
		t.Errorf("let go: got %+v, want it dozing still", a)
	}
	b.must(b.get())

	release := hold(false)
	got := make(chan error, 1)
	go func() { got <- b.get() }()
	select {
	case err := <-got:
		t.Errorf("a request meanwhile: got %v, want it to wait", err)
	case <-time.After(50 * time.Millisecond):
	}
	b.must(release(b.ctx()))
	b.must(<-got)
	release = hold(false)
	b.must(b.Controller.Stop(b.ctx(), b.id))
	if err := release(b.ctx()); err == nil {
		t.Error("stopped meanwhile: got no error")
	}
	b.becomes("inactive")
}

// An armed instance is active for the manager and has no app, until somebody wants it.
func armed(t *testing.T, b *bench) {
	b.load()
	if got := b.do(ingress.Arm); !got.Armed || got.ReadyAt != 0 {
		t.Errorf("arm: got %+v", got)
	}
	b.becomes("active")
	b.hinted()
	before := b.do(ingress.Status)
	if !before.Armed {
		t.Errorf("status: got %+v", before)
	}
	conn, answer, err := b.Doorbell(b.id).ProbeApp(b.ctx())
	if conn != nil || err != nil || !answer.Armed {
		t.Errorf("probe: got %v, %+v, %v, want no connection", conn, answer, err)
	}
	var refusal *ingress.Refusal
	if _, err := b.Doorbell(b.id).Do(b.ctx(), ingress.Doze); !errors.As(err, &refusal) || refusal.Class != ingress.ClassGone {
		t.Errorf("doze: got %v, want a refusal", err)
	}
	b.must(b.get())
	for _, verb := range []ingress.Verb{ingress.Status, ingress.Arm} {
		if got := b.do(verb); got.Armed || got.InitAt != before.InitAt || got.ReadyAt == 0 {
			t.Errorf("%s when it runs: got %+v, want the same process as %+v with the app", verb, got, before)
		}
	}
	b.must(b.Controller.Stop(b.ctx(), b.id))
	b.becomes("inactive")
	if got := b.do(ingress.Arm); !got.Armed || got.InitAt == before.InitAt {
		t.Errorf("arm again: got %+v", got)
	}
	b.must(b.Controller.Stop(b.ctx(), b.id))
	if s := b.becomes("inactive"); !s.Doorbell {
		t.Error("an armed one that was stopped has no doorbell")
	}
	if got := b.do(ingress.Arm); !got.Armed {
		t.Errorf("arm: got %+v", got)
	}
	b.must(b.Controller.Unload(b.ctx(), b.id))
	b.noDoorbell()
}

func probeChangesNothing(t *testing.T, b *bench) {
	b.load()
	first := b.do(ingress.Ready)
	probe := func() (bool, ingress.Answer) {
		t.Helper()
		conn, answer, err := b.Doorbell(b.id).ProbeApp(b.ctx())
		b.must(err)
		if conn != nil {
			conn.Close()
		}
		return conn != nil, answer
	}
	if connected, a := probe(); !connected || a.InitAt != first.InitAt || a.Dozing {
		t.Errorf("awake: got a connection %t, %+v, want one to the same process", connected, a)
	}
	b.do(ingress.Doze)
	for range 2 {
		if connected, a := probe(); connected || a.InitAt != first.InitAt || !a.Dozing {
			t.Errorf("dozing: got a connection %t, %+v, want none and that it dozes", connected, a)
		}
	}
	if a := b.do(ingress.Status); !a.Dozing {
		t.Errorf("status: got %+v, want it dozing still", a)
	}
	b.must(b.get())
	if connected, _ := probe(); !connected {
		t.Error("thawed: got no connection")
	}
	b.must(b.Controller.Load(b.ctx(), b.Hangs(b.id))) // one that is starting
	waiting := make(chan error, 1)
	go func() {
		_, err := b.Doorbell(b.id).Do(b.ctx(), ingress.Ready)
		waiting <- err
	}()
	b.becomes("activating")
	if connected, a := probe(); connected || a.InitAt == 0 || a.ReadyAt != 0 {
		t.Errorf("starting: got a connection %t, %+v, want none and that it starts", connected, a)
	}
	<-waiting
}

func stopDozing(t *testing.T, b *bench) {
	b.load()
	b.do(ingress.Ready)
	b.do(ingress.Doze)
	begun := time.Now()
	b.must(b.Controller.Stop(b.ctx(), b.id))
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("the stop took %v", took)
	}
	b.becomes("inactive")
	b.do(ingress.Ready)
	b.do(ingress.Doze)
	b.must(b.Controller.Unload(b.ctx(), b.id))
}

// refused rings and checks the class of the refusal.
func (b *bench) refused(want ingress.Class) {
	b.t.Helper()
	_, err := b.Doorbell(b.id).Do(b.ctx(), ingress.Ready)
	var refusal *ingress.Refusal
	if !errors.As(err, &refusal) || refusal.Class != want {
		b.t.Fatalf("ring: got %v, want a refusal of class %q", err, want)
	}
}

func appExits(t *testing.T, b *bench) {
	b.must(b.Controller.Load(b.ctx(), b.Exits(b.id)))
	for range 2 {
		b.refused(ingress.ClassExited)
	}
	if s := b.becomes("failed"); s.Exit.Code != 1 {
		t.Errorf("got %+v, want how it ended", s)
	}
	b.load() // loading clears what failed
	b.becomes("inactive")
	b.do(ingress.Ready)
}

func appHangs(_ *testing.T, b *bench) {
	b.must(b.Controller.Load(b.ctx(), b.Hangs(b.id)))
	b.refused(ingress.ClassTimeout)
	b.becomes("failed")
}

func callerLeaves(_ *testing.T, b *bench) {
	b.load()
	ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
	defer cancel()
	_, _ = b.Doorbell(b.id).Do(ctx, ingress.Ready)
	b.do(ingress.Ready)
	b.must(b.get())
}
