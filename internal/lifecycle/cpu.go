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
// Where the timeouts are too short for a window that would tell anything there is no
// look. Nobody looks at instances that are not about to rest, unless memory is short
// (relief.go).
const (
	busyCores    = 0.05
	maxCPUWindow = 5 * time.Second
	minCPUWindow = 250 * time.Millisecond
)

// cpuWatch is what has been seen of an instance's use of the CPU.
type cpuWatch struct {
	at   time.Time     // of the last look
	used time.Duration // all it had used by then
	// cores is how much it used before that look, 1 being a core; quiet says that this
	// was little.
	cores float64
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
	c := &inst.cpu
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
	c := &inst.cpu
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

func (i *instance) sawCPULocked(now time.Time, used time.Duration, err error, window time.Duration) {
	c := &i.cpu
	seen := cpuWatch{at: now, used: used}
	elapsed := now.Sub(c.at)
	switch {
	case err != nil:
		seen.quiet = true
	case c.at.Before(i.lastActive) || elapsed > 3*window || elapsed < window/2:
		// The first of two.
	default:
		seen.cores = float64(used-c.used) / float64(elapsed)
		seen.quiet = seen.cores <= busyCores
		if !seen.quiet {
			seen.busySince = now
			if !c.busySince.IsZero() {
				seen.busySince = c.busySince
			}
		}
	}
	*c = seen
}
