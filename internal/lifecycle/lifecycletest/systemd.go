package lifecycletest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/lifecycle"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// Systemd is an in-memory service manager. It implements lifecycle.Controller.
type Systemd struct {
	hints hints
	wg    sync.WaitGroup

	mu       sync.Mutex // guards what follows and all units and runs
	units    map[tenant.ID]*unit
	apps     map[tenant.ID]App
	standard App
	appOf    func(tenant.Spec) (App, bool)
	runs     map[tenant.ID]int
	// scheduled has the scheduled requests that apps got.
	scheduled map[tenant.ID][]string
	wiped     map[tenant.ID]int
	wipedAll  map[tenant.ID]bool
	secrets   map[tenant.ID]map[string]string
	taken     map[int]bool
	faults    map[string][]fault
	latency   func(op string) time.Duration
	onSignal  func(tenant.ID, string)
	boosts    []tenant.Limit
	lacks     []tenant.Limit
	storage   map[tenant.ID]int64
	snapshots map[tenant.ID]int64
	arrivals  map[tenant.ID]int64
	enforces  bool
}

// unit is a loaded socket and service.
type unit struct {
	spec     tenant.Spec
	limits   tenant.Limits // as they are now
	doorbell bool
	active   string
	exit     units.Exit
	last     units.Exit // of the run before, for hints
	run      *run       // nil while nothing runs
	backlog  []*call    // rings that no run has taken
}

// fault is what one call of an operation shall do instead of its work.
type fault struct {
	err  error
	hang bool // until its context ends
}

// New makes a service manager that knows no unit.
func New() *Systemd {
	return &Systemd{
		hints:     newHints(),
		units:     map[tenant.ID]*unit{},
		apps:      map[tenant.ID]App{},
		runs:      map[tenant.ID]int{},
		scheduled: map[tenant.ID][]string{},
		wiped:     map[tenant.ID]int{},
		wipedAll:  map[tenant.ID]bool{},
		secrets:   map[tenant.ID]map[string]string{},
		taken:     map[int]bool{},
		faults:    map[string][]fault{},
		storage:   map[tenant.ID]int64{},
		snapshots: map[tenant.ID]int64{},
		arrivals:  map[tenant.ID]int64{},
		latency:   func(string) time.Duration { return 0 },
	}
}

// Run delivers hints until ctx ends. Then it kills everything that runs and waits for
// its end.
func (s *Systemd) Run(ctx context.Context) error {
	s.hints.pump(ctx)
	s.mu.Lock()
	for _, u := range s.units {
		u.doorbell = false
		u.hangUpLocked()
		if u.run != nil {
			u.run.kill()
		}
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// SetApp says how an instance's next run behaves; the zero ID stands for all that
// have no App of their own.
func (s *Systemd) SetApp(id tenant.ID, app App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id.IsZero() {
		s.standard = app
		return
	}
	s.apps[id] = app
}

// SetAppOf says how the runs of certain units behave, whatever SetApp says; not ok is as
// without it.
func (s *Systemd) SetAppOf(f func(tenant.Spec) (app App, ok bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.appOf = f
}

// Fail has the next call of an operation ("load", "unload", "stop", "wipe",
// "list", "limit", "usage", "measure", "snapshot", "pack", "unpack", "replace",
// "discard") return err.
func (s *Systemd) Fail(op string, err error) { s.addFault(op, fault{err: err}) }

// Hang has the next call of an operation wait until its context ends.
func (s *Systemd) Hang(op string) { s.addFault(op, fault{hang: true}) }

// Mend has no call fail or hang any more that would.
func (s *Systemd) Mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

func (s *Systemd) addFault(op string, f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[op] = append(s.faults[op], f)
}

// SetLatency has each operation take as long as f says; "hint" is how late hints are, and
// "trigger" how long after a ring the unit starts.
func (s *Systemd) SetLatency(f func(op string) time.Duration) {
	s.mu.Lock()
	s.latency = f
	s.mu.Unlock()
	s.hints.setLatency(func() time.Duration { return f("hint") })
}

// OnSignal has f called when a run gets "term" or "freeze", under the manager's lock.
func (s *Systemd) OnSignal(f func(id tenant.ID, what string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onSignal = f
}

// Schedules gives the requests of schedules that an instance's app got, as "METHOD PATH
// ENTRY".
func (s *Systemd) Schedules(id tenant.ID) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.scheduled[id])
}

// TakePort has something else listen on a port: runs that want it are refused.
func (s *Systemd) TakePort(port int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken[port] = true
}

// Hint sends a hint, true or not.
func (s *Systemd) Hint(status units.Status) { s.hints.put(status) }

// Starts is how often an instance's unit was started.
func (s *Systemd) Starts(id tenant.ID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[id]
}

// Wipes is how often an instance's data was removed.
func (s *Systemd) Wipes(id tenant.ID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wiped[id]
}

// WipedAll reports whether the last removal of an instance's data was also of what restores
// have kept of it.
func (s *Systemd) WipedAll(id tenant.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wipedAll[id]
}

// Doorbells counts the doorbells that answer.
func (s *Systemd) Doorbells() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, u := range s.units {
		if u.doorbell {
			n++
		}
	}
	return n
}

// Active is an instance's ActiveState, with "frozen" for a dozing one; "" where it is
// not loaded.
func (s *Systemd) Active(id tenant.ID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[id]
	switch {
	case u == nil:
		return ""
	case u.run != nil && u.run.thawed != nil:
		return "frozen"
	}
	return u.active
}

// Spec is what an instance was loaded with last.
func (s *Systemd) Spec(id tenant.ID) tenant.Spec {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.units[id]; u != nil {
		return u.spec
	}
	return tenant.Spec{}
}

// Crash has an instance's processes die.
func (s *Systemd) Crash(id tenant.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.units[id]; u != nil && u.run != nil {
		s.refuseLocked(u.run, &ingress.Refusal{Class: ingress.ClassGone, Text: "signal 9"})
		u.run.kill()
	}
}

// Start starts a loaded instance, as `systemctl start` does.
func (s *Systemd) Start(id tenant.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.units[id]; u != nil && u.run == nil {
		s.startLocked(u)
	}
}

// DropDoorbell stops an instance's socket unit, as `systemctl stop` does.
func (s *Systemd) DropDoorbell(id tenant.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.units[id]; u != nil {
		u.doorbell = false
		u.hangUpLocked()
	}
}

// StopUnit begins to stop an instance's service, as `systemctl stop --no-block` does.
func (s *Systemd) StopUnit(id tenant.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.units[id]; u != nil && u.run != nil {
		s.termLocked(u)
	}
}

// OutOfMemory has the kernel kill one of an instance's processes for want of memory, for
// which the manager stops the unit (systemd.service(5), OOMPolicy=stop).
func (s *Systemd) OutOfMemory(id tenant.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.units[id]; u != nil && u.run != nil {
		u.run.oom, u.exit = true, units.Exit{Result: "oom-kill"}
		s.termLocked(u)
	}
}

// enter is the beginning of each operation.
func (s *Systemd) enter(ctx context.Context, op string) error {
	s.mu.Lock()
	var f fault
	if list := s.faults[op]; len(list) > 0 {
		f, s.faults[op] = list[0], list[1:]
	}
	latency := s.latency(op)
	s.mu.Unlock()
	if !pause(ctx, latency) {
		return context.Cause(ctx)
	}
	if f.hang {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return f.err
}

// Load implements lifecycle.Controller.
func (s *Systemd) Load(ctx context.Context, spec tenant.Spec) error {
	if err := s.enter(ctx, "load"); err != nil {
		return err
	}
	if err := s.check(spec.ID, spec.Limits); err != nil {
		return err
	}
	if err := s.unload(ctx, spec.ID); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	limits := spec.Limits.Or(tenant.Limits{})
	for _, weight := range s.boosts {
		limits = tenant.Limits{weight: tenant.Boosted(limits.Get(weight))}.Or(limits)
	}
	s.units[spec.ID] = &unit{spec: spec, limits: limits, doorbell: true, active: "inactive"}
	return nil
}

// Unload implements lifecycle.Controller.
func (s *Systemd) Unload(ctx context.Context, id tenant.ID) error {
	if err := s.enter(ctx, "unload"); err != nil {
		return err
	}
	return s.unload(ctx, id)
}

func (s *Systemd) unload(ctx context.Context, id tenant.ID) error {
	s.DropDoorbell(id)
	if err := s.stop(ctx, id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.units, id)
	return nil
}

// Stop implements lifecycle.Controller.
func (s *Systemd) Stop(ctx context.Context, id tenant.ID) error {
	if err := s.enter(ctx, "stop"); err != nil {
		return err
	}
	return s.stop(ctx, id)
}

func (s *Systemd) stop(ctx context.Context, id tenant.ID) error {
	s.mu.Lock()
	u := s.units[id]
	var ended <-chan struct{}
	if u != nil && u.run != nil {
		s.termLocked(u)
		ended = u.run.ended
	}
	s.mu.Unlock()
	if ended != nil {
		select {
		case <-ended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if u != nil && u.active == "failed" { // ResetFailedUnit
		u.active, u.exit = "inactive", units.Exit{}
	}
	return nil
}

// Wipe implements lifecycle.Controller.
func (s *Systemd) Wipe(ctx context.Context, id tenant.ID, kept bool) error {
	if err := s.enter(ctx, "wipe"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wiped[id]++
	s.wipedAll[id] = kept
	delete(s.storage, id)
	return nil
}

// List implements lifecycle.Controller.
func (s *Systemd) List(ctx context.Context, ids ...tenant.ID) ([]units.Status, error) {
	if err := s.enter(ctx, "list"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(ids) == 0 {
		ids = slices.SortedFunc(maps.Keys(s.units), func(a, b tenant.ID) int { return strings.Compare(a.String(), b.String()) })
	}
	var list []units.Status
	for _, id := range ids {
		if u := s.units[id]; u != nil {
			status := units.Status{ID: id, Doorbell: u.doorbell, Active: u.active}
			if len(ids) == 1 {
				status.Exit = u.exit
			}
			list = append(list, status)
		}
	}
	return list, nil
}

// Events implements lifecycle.Controller.
func (s *Systemd) Events() <-chan units.Status { return s.hints.out }

var _ lifecycle.Controller = (*Systemd)(nil)
