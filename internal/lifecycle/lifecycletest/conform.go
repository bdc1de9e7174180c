package lifecycletest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
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
		{"a probe changes nothing", probeChangesNothing},
		{"armed", armed},
		{"stop and unload of a dozing one", stopDozing},
		{"limits", limits},
		{"data", data},
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

// bench has the steps that the tries are made of.
type bench struct {
	Bench
	t  *testing.T
	id tenant.ID
}

func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), b.Quick)
	b.t.Cleanup(cancel)
	return ctx
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) load() {
	b.t.Helper()
	b.must(b.Controller.Load(b.ctx(), b.Spec(b.id)))
}

func (b *bench) do(verb ingress.Verb) ingress.Answer {
	b.t.Helper()
	answer, err := b.Doorbell(b.id).Do(b.ctx(), verb)
	b.must(err)
	return answer
}

// status gives what List says of the instance, in both ways to ask.
func (b *bench) status() (units.Status, bool) {
	b.t.Helper()
	one, err := b.Controller.List(b.ctx(), b.id)
	b.must(err)
	all, err := b.Controller.List(b.ctx())
	b.must(err)
	known := false
	for _, s := range all {
		known = known || s.ID == b.id
	}
	if len(one) > 1 || (len(one) == 1) != known {
		b.t.Fatalf("listed alone: %+v, among all: %+v", one, all)
	}
	if known {
		return one[0], true
	}
	return units.Status{}, false
}

// becomes waits until the unit is in one of the given states.
func (b *bench) becomes(want ...string) units.Status {
	b.t.Helper()
	deadline := time.Now().Add(b.Quick)
	for {
		s, _ := b.status()
		for _, w := range want {
			if s.Active == w {
				return s
			}
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("got ActiveState %q after %v, want one of %q", s.Active, b.Quick, want)
		}
		time.Sleep(time.Millisecond)
	}
}

// hinted waits for a hint that tells of the instance.
func (b *bench) hinted() {
	b.t.Helper()
	timeout := time.After(b.Quick)
	for {
		select {
		case s := <-b.Controller.Events():
			if s.ID == b.id || s.ID.IsZero() {
				return
			}
		case <-timeout:
			b.t.Fatal("there was no hint")
		}
	}
}

// quiet throws away the hints of what was done up to now.
func (b *bench) quiet() {
	for {
		select {
		case <-b.Controller.Events():
		case <-time.After(100 * time.Millisecond):
			return
		}
	}
}

func (b *bench) get() error {
	conn, _, err := b.Doorbell(b.id).Connect(b.ctx())
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(b.Quick))
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

func (b *bench) noDoorbell() {
	b.t.Helper()
	if _, err := b.Doorbell(b.id).Do(b.ctx(), ingress.Ready); !errors.Is(err, ingress.ErrNoDoorbell) {
		b.t.Fatalf("ring: got %v, want %v", err, ingress.ErrNoDoorbell)
	}
}

func unknown(t *testing.T, b *bench) {
	b.must(b.Controller.Stop(b.ctx(), b.id))
	b.must(b.Controller.Unload(b.ctx(), b.id))
	b.must(b.Controller.Wipe(b.ctx(), b.id))
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

// A change of limits reaches a unit in any state and is no end of it.
func limits(t *testing.T, b *bench) {
	memory := func(bytes int64) tenant.Limits { return tenant.Limits{tenant.LimitMemory: bytes} }
	set := func(limits tenant.Limits, want int64) {
		t.Helper()
		b.must(b.Controller.SetLimits(b.ctx(), b.id, limits))
		if got := b.Limits(b.id)[tenant.LimitMemory]; got != want {
			t.Errorf("memory: got %d, want %d", got, want)
		}
	}
	b.must(b.Controller.SetLimits(b.ctx(), b.id, memory(200<<20)))
	if s, ok := b.status(); ok {
		t.Errorf("limiting an unknown one: got %+v, want nothing", s)
	}
	if got, err := b.Controller.Usage(b.ctx(), b.id); err != nil || got != tenant.UnknownUsage {
		t.Errorf("usage of an unknown one: got %+v, %v", got, err)
	}
	b.load()
	set(memory(300<<20), 300<<20)
	first := b.do(ingress.Ready)
	set(memory(400<<20), 400<<20)
	set(tenant.Limits{tenant.LimitTasks: 100, tenant.LimitNoFile: 100, tenant.LimitCPUShares: 50}, 400<<20)
	if got := b.Limits(b.id)[tenant.LimitCPUShares]; got != 50 {
		t.Errorf("cpu shares: got %d, want 50", got)
	}
	if got, err := b.Controller.Usage(b.ctx(), b.id); err != nil || got.Tasks == 0 || got.Memory == 0 || got.CPUTime == 0 {
		t.Errorf("usage of a running one: got %+v, %v", got, err)
	}
	b.do(ingress.Doze)
	set(memory(500<<20), 500<<20)
	if a := b.do(ingress.Status); !a.Dozing || a.InitAt != first.InitAt {
		t.Errorf("got %+v, want the same process dozing", a)
	}
	set(memory(0), 0)
	b.must(b.get())
	if a := b.do(ingress.Status); a.InitAt != first.InitAt {
		t.Errorf("got another process: %+v", a)
	}
	b.must(b.Controller.Stop(b.ctx(), b.id))
	set(memory(300<<20), 300<<20)
	// Loading it anew leaves nothing of that.
	b.load()
	if got := b.Limits(b.id)[tenant.LimitMemory]; got != 0 {
		t.Errorf("after a load: got %d bytes of memory, want no limit", got)
	}
}

// The measure of data is right to within a few blocks.
func data(t *testing.T, b *bench) {
	check := func(want int64) {
		t.Helper()
		got, _, err := b.Controller.Measure(b.ctx(), b.id)
		if err != nil || got < want || got > want+64<<10 {
			t.Errorf("measure: got %d, %v, want %d", got, err, want)
		}
	}
	check(0)
	b.load()
	check(0)
	b.Data(b.id, 3<<20)
	check(3 << 20)
	b.must(b.Controller.Unload(b.ctx(), b.id))
	check(3 << 20)
	b.must(b.Controller.Wipe(b.ctx(), b.id))
	check(0)
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
