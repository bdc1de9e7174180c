package lifecycle

import (
	"context"
	"time"

	"tenement.dev/internal/tenant"
)

const (
	// useInterval is how often it is saved what instances have used, and their memory is
	// looked at: what a daemon that is killed loses at most.
	useInterval = time.Minute
	// useKept is how long that is remembered.
	useKept = 400 * 24 * time.Hour
	// lookForUse is how often the data of those that run is looked at that have no limit.
	lookForUse = time.Hour
)

// UseStore remembers what instances have used; *registry.Registry is one.
type UseStore interface {
	// AddUse adds to what was used, all or nothing.
	AddUse(ctx context.Context, list []tenant.DailyUse, metered []tenant.Metered) error
	Use(ctx context.Context, q tenant.UseQuery) ([]tenant.DailyUse, error)
	Metered(ctx context.Context) (map[tenant.ID]tenant.Metered, error)
	ForgetUse(ctx context.Context, before string) error
}

// used is what an instance has used that is not saved yet; guarded by its mutex.
type used struct {
	tenant.DailyUse                // but for ID, Day and Traffic
	saved           tenant.Traffic // of the meter
	since           time.Time      // until when time is counted
	seen            time.Duration  // of the present process's CPU time, all that is counted
	memory          int64          // as it was last looked at
	// unseen is the time since that look, for which memory is not counted yet: how much it
	// was is known at the next one.
	unseen time.Duration
	// process is the startedAt of that one, 0 where it has not been looked at; resumed: one
	// has been adopted, so what earlier daemons have counted is known here.
	process int64
	resumed bool
}

// useLocked is where the use of one is counted that runs, or has run. Most never do.
func (i *instance) useLocked() *used {
	if i.used == nil {
		i.used = &used{since: time.Now()}
	}
	return i.used
}

// passLocked counts the time since it was called last, which the instance spent in its
// present state.
func (i *instance) passLocked(now time.Time) {
	u := i.used
	if u == nil {
		return // it rests since the daemon started
	}
	d := now.Sub(u.since)
	if d <= 0 {
		return
	}
	u.since = now
	switch i.state {
	case tenant.Awake:
		u.Awake += d
	case tenant.Dozing:
		u.Dozing += d
	default:
		return
	}
	u.unseen += d
}

// rememberLocked counts memory until now as it was last looked at, where there will be no look
// that tells better: the process has ended, or another state has begun.
func (u *used) rememberLocked() { u.sawMemoryLocked(u.memory) }

// sawMemoryLocked counts memory since the last look, and is one itself.
func (u *used) sawMemoryLocked(bytes int64) {
	u.Memory += float64(bytes) * u.unseen.Seconds()
	u.memory, u.unseen = bytes, 0
}

// usedCPULocked counts the CPU time of the present process, which it has used since its
// start.
func (i *instance) usedCPULocked(cpu time.Duration) {
	u := i.useLocked()
	if cpu < u.seen {
		u.seen = 0 // that is another one
	}
	u.CPU += cpu - u.seen
	u.seen = cpu
}

// begunLocked is for a new process, of which nothing is counted yet.
func (u *used) begunLocked() {
	u.rememberLocked()
	u.process, u.seen, u.memory = 0, 0, 0
}

// resumeLocked is for a process that is adopted: this daemon has counted it before, or an
// earlier one has, or nobody.
func (m *Manager) resumeLocked(inst *instance, now time.Time) {
	u := inst.useLocked()
	if u.process == inst.startedAt {
		return
	}
	first := !u.resumed
	u.begunLocked()
	u.process, u.resumed = inst.startedAt, true
	if before, ok := m.metered[inst.id]; ok && first && before.Started == inst.startedAt {
		u.seen = before.CPU
		if before.At.Before(now) {
			u.since = before.At
		}
	}
}

// meter looks at what a running instance uses. It is called with no lock held.
func (m *Manager) meter(inst *instance) {
	if m.uses == nil || m.use == nil {
		return
	}
	inst.mu.Lock()
	startedAt := inst.startedAt
	inst.mu.Unlock()
	cpu, memory, err := m.use(inst.id)
	if err != nil {
		return // it has ended, and others see to that
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if inst.startedAt != startedAt {
		return
	}
	inst.usedCPULocked(cpu)
	u := inst.useLocked()
	u.process, u.resumed = startedAt, true
	inst.passLocked(time.Now())
	u.sawMemoryLocked(max(memory, 0))
}

// meterEnd counts the CPU time of a process that has ended: the manager knows it until
// the unit is started again or unloaded.
func (m *Manager) meterEnd(ctx context.Context, inst *instance, generation uint64) {
	if m.uses == nil {
		return
	}
	usage, err := m.controller.Usage(ctx, inst.id)
	inst.mu.Lock()
	defer inst.mu.Unlock()
	running := believedRunning(inst) || inst.state == tenant.Stopping // as far as is known
	if err == nil && running && inst.generation == generation && time.Duration(usage.CPUTime) > inst.useLocked().seen {
		inst.usedCPULocked(time.Duration(usage.CPUTime))
	}
}

// takeUseLocked gives what is not saved yet, and forgets it.
func (i *instance) takeUseLocked(day string, now time.Time) tenant.DailyUse {
	traffic := i.meter.Traffic()
	if i.used == nil && traffic == (tenant.Traffic{}) {
		return tenant.DailyUse{ID: i.id, Day: day, Storage: i.storage.get().bytes}
	}
	i.passLocked(now)
	u := i.useLocked()
	taken := u.DailyUse
	taken.ID, taken.Day, taken.Traffic, taken.Storage = i.id, day, traffic.Minus(u.saved), i.storage.get().bytes
	u.saved, u.DailyUse = traffic, tenant.DailyUse{}
	return taken
}

// giveBackLocked is for what could not be saved.
func (i *instance) giveBackLocked(u tenant.DailyUse) {
	own := i.useLocked()
	own.Awake += u.Awake
	own.Dozing += u.Dozing
	own.CPU += u.CPU
	own.Memory += u.Memory
	own.saved = own.saved.Minus(u.Traffic)
}

// keepUse remembers what an instance has used that is about to be forgotten.
func (m *Manager) keepUse(inst *instance) {
	if m.uses == nil {
		return
	}
	inst.mu.Lock()
	now := time.Now()
	inst.passLocked(now)
	if inst.used != nil {
		inst.used.rememberLocked()
	}
	u := inst.takeUseLocked(now.UTC().Format(tenant.DayFormat), now)
	inst.mu.Unlock()
	if u.IsZero() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone = append(m.gone, u)
}

// meterAll looks at what instances use and saves it from time to time, until m.ctx ends.
func (m *Manager) meterAll() {
	for {
		now := time.Now()
		day := now.UTC().Truncate(24 * time.Hour)
		midnight := day.Add(24 * time.Hour)
		if !rest(m.ctx, min(useInterval, midnight.Sub(now))) {
			return
		}
		for _, inst := range m.all() {
			inst.mu.Lock()
			running := believedRunning(inst)
			inst.mu.Unlock()
			if running {
				m.meter(inst)
			}
		}
		_ = m.saveUse(m.ctx, day) // logged, and tried again
		if !time.Now().Before(midnight) {
			if err := m.uses.ForgetUse(m.ctx, day.Add(-useKept).Format(tenant.DayFormat)); err != nil && m.ctx.Err() == nil {
				m.log.Error("old use not forgotten", "err", err)
			}
		}
	}
}

// saveUse saves what was used on a day. With the first save of a day there is a row for
// all that have data.
func (m *Manager) saveUse(ctx context.Context, on time.Time) error {
	m.savingUse.Lock()
	defer m.savingUse.Unlock()
	day := on.UTC().Format(tenant.DayFormat)
	now := time.Now()
	all := m.all()
	var taken []*instance
	var list []tenant.DailyUse
	var metered []tenant.Metered
	for _, inst := range all {
		inst.mu.Lock()
		u := inst.takeUseLocked(day, now)
		if believedRunning(inst) {
			metered = append(metered, tenant.Metered{ID: inst.id, Started: inst.startedAt, CPU: inst.useLocked().seen, At: now})
		}
		inst.mu.Unlock()
		if !u.IsZero() || u.Storage > 0 && m.usedOn != day {
			taken, list = append(taken, inst), append(list, u)
		}
	}
	m.mu.Lock()
	gone := m.gone
	m.gone = nil
	m.mu.Unlock()
	if len(list) == 0 && len(gone) == 0 && len(metered) == 0 {
		return nil
	}
	err := m.uses.AddUse(ctx, append(list, gone...), metered)
	if err == nil {
		m.usedOn = day
		return nil
	}
	m.log.Error("use not saved", "instances", len(list), "err", err)
	for i, inst := range taken {
		inst.mu.Lock()
		inst.giveBackLocked(list[i])
		inst.mu.Unlock()
	}
	m.mu.Lock()
	m.gone = append(gone, m.gone...)
	m.mu.Unlock()
	return err
}

// Use tells what instances have used, to this moment. Errors are *tenant.Error.
func (m *Manager) Use(ctx context.Context, q tenant.UseQuery) ([]tenant.DailyUse, error) {
	if m.uses == nil {
		return nil, nil
	}
	for _, inst := range m.all() {
		if (q.Service == "" || inst.id.Service == q.Service) && (q.Name == "" || inst.id.Name == q.Name) &&
			(tenant.State(inst.seen.Load()) == tenant.Awake || tenant.State(inst.seen.Load()) == tenant.Dozing) {
			m.meter(inst)
		}
	}
	if err := m.saveUse(ctx, time.Now()); err != nil {
		return nil, err
	}
	return m.uses.Use(ctx, q)
}
