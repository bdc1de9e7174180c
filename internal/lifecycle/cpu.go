package lifecycle

import (
	"errors"
	"io/fs"
	"time"

	"tenement.dev/internal/tenant"
)

// An instance without requests may be at work all the same: a job in the background.
// So before it rests its use of the CPU is looked at, twice, a window apart; more than
// busyCores in between, on average, and it does not rest, and is looked at again after
// each further window. When it is quiet in one it rests, and so it does when that has
// gone on for busy_max: the next request gives it that time again.
//
// Where others take the machine's CPUs a job may get next to nothing, and is at work
// nevertheless: it wants the CPU, and waits for it. Idle runtimes wait too, for what
// little they do, but not for most of the time.
//
// What two looks too far apart have seen is no news of the last window: it neither makes
// one busy nor ends that.
//
// Where the timeouts are too short for a window that would tell anything there is no
// look. Nobody looks at instances that are not about to rest, unless memory is short
// (relief.go).
const (
	busyCores    = 0.05
	busyWants    = 0.5
	maxCPUWindow = 5 * time.Second
	minCPUWindow = 250 * time.Millisecond
)

// CPUTime is what an instance has had of the CPU since its start.
type CPUTime struct {
	// Used is the time of all cores together.
	Used time.Duration
	// Waited is for how long it wanted the CPU and none of its processes had it; 0 where
	// nobody knows.
	Waited time.Duration
}

// use is what an instance does with the CPU between two looks.
type use struct {
	cores float64 // used, 1 being a core
	waits float64 // share of the time that it waited
}

// useSince is what was done since an earlier look at the same process. ok is false where
// the two are not of the same process.
func (c CPUTime) useSince(before CPUTime, elapsed time.Duration) (u use, ok bool) {
	if c.Used < before.Used || c.Waited < before.Waited || elapsed <= 0 {
		return use{}, false
	}
	return use{
		cores: float64(c.Used-before.Used) / float64(elapsed),
		waits: min(float64(c.Waited-before.Waited)/float64(elapsed), 1),
	}, true
}

// busy reports whether that is work.
func (u use) busy() bool { return u.cores > busyCores || u.cores+u.waits > busyWants }

// cpuWatch is what has been seen of an instance's use of the CPU.
type cpuWatch struct {
	at   time.Time // of the last look
	time CPUTime   // all it had had by then
	// use is what it did before that look; quiet says that this was little.
	use   use
	quiet bool
	// busySince is the first of the looks in a row that found it busy, zero for none.
	busySince time.Time
}

// cpuWindowLocked is the time between two looks, 0 where the CPU is of no concern.
func (m *Manager) cpuWindowLocked(inst *instance) time.Duration {
	service, ok := m.config.Load().Services[inst.id.Service]
	if !ok || m.cpu == nil || service.BusyMax == 0 || inst.state != tenant.Awake {
		return 0
	}
	doze, stop := m.idleTimeoutsLocked(inst)
	if doze == 0 || stop > 0 && stop < doze {
		doze = stop
	}
	window := min(doze/2, maxCPUWindow)
	if window < minCPUWindow {
		return 0
	}
	return window
}

// busyUntilLocked is how long its use of the CPU may keep the instance awake, zero
// where the last look found it quiet or is from before its last request.
func (m *Manager) busyUntilLocked(inst *instance) time.Time {
	c := inst.cpu.get()
	if c.busySince.IsZero() || c.at.Before(inst.lastActive) || m.cpuWindowLocked(inst) == 0 {
		return time.Time{}
	}
	return c.busySince.Add(m.config.Load().Services[inst.id.Service].BusyMax)
}

// cpuLookLocked is when the CPU must be looked at for an instance that otherwise rests
// at the given moment; zero if it need not be.
func (m *Manager) cpuLookLocked(inst *instance, now, rest time.Time) time.Time {
	window := m.cpuWindowLocked(inst)
	if window == 0 || rest.IsZero() {
		return time.Time{}
	}
	c := inst.cpu.get()
	switch until := m.busyUntilLocked(inst); {
	case now.Before(until):
		return earliest(c.at.Add(window), until)
	case !until.IsZero():
		return time.Time{} // that was long enough
	case c.at.Before(inst.lastActive) || rest.Sub(c.at) > 2*window:
		return rest.Add(-window)
	case c.quiet && !c.at.Before(rest):
		return time.Time{}
	}
	if at := c.at.Add(window); at.After(rest) {
		return at
	}
	return rest
}

// lookAtCPU looks and notes what it saw. inst.mu is held by the caller and given up
// meanwhile; false says that the instance is not what it was.
func (m *Manager) lookAtCPU(inst *instance) bool {
	generation := inst.generation
	inst.mu.Unlock()
	used, err := m.cpu(inst.id)
	inst.mu.Lock()
	if inst.generation != generation || inst.op != nil {
		return false
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // one that is gone is news to others
		m.log.Warn("use of the CPU not known", "instance", inst.id, "err", err)
	}
	inst.sawCPULocked(time.Now(), used, err, m.cpuWindowLocked(inst))
	return true
}

func (i *instance) sawCPULocked(now time.Time, used CPUTime, err error, window time.Duration) {
	c := i.cpu.get()
	seen := cpuWatch{at: now, time: used}
	elapsed := now.Sub(c.at)
	did, ok := used.useSince(c.time, elapsed)
	switch {
	case err != nil:
		seen.quiet = true
	case c.at.Before(i.lastActive) || !ok:
		// The first of two.
	case elapsed > 3*window || elapsed < window/2:
		// The first of two, too: if it was busy until now, it still is.
		seen.busySince, seen.use = c.busySince, c.use
	default:
		seen.use = did
		seen.quiet = !did.busy()
		if !seen.quiet {
			seen.busySince = now
			if !c.busySince.IsZero() {
				seen.busySince = c.busySince
			}
		}
	}
	*i.cpu.own() = seen
}
