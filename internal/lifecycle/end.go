package lifecycle

import (
	"time"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

// end is how an app came to its end that nobody had stop.
type end struct {
	reason string
	// clean: with success, as systemd sees it. unknown: that cannot be told; a hint may
	// still say so later.
	clean, unknown bool
	// running: the next process may run already, since somebody rang; wanted: whoever
	// noticed asks for it next.
	running, wanted bool
}

// noticedLocked is for who has found the process gone that the instance was awake with,
// before a look has. The next one has been started perhaps, and then no look can tell
// any more how the old one has ended; only a hint has said so, or will.
func (m *Manager) noticedLocked(inst *instance, now time.Time, wanted bool) {
	e := end{reason: "the app ended", running: true, wanted: wanted}
	switch inst.ended {
	case "failed":
	case "inactive":
		e.clean = true
	default:
		e.unknown = true
	}
	m.endedLocked(inst, now, e)
}

// heardLocked takes from a hint how a process has ended.
func (m *Manager) heardLocked(inst *instance, active string) {
	switch {
	case active == "active": // the hint of the end before it has been lost
		inst.unjudged = false
	case active != "failed" && active != "inactive":
	case inst.unjudged:
		inst.unjudged = false
		if active == "failed" && !inst.removed && m.ctx.Err() == nil {
			m.failedLateLocked(inst, time.Now())
		}
	case inst.op == nil && believedRunning(inst):
		inst.ended = active
	}
}

// failedLateLocked counts the end of a process as a failure that was taken for none since
// nobody knew. What has been started for a request meanwhile goes on, unless that was
// one failure too many.
func (m *Manager) failedLateLocked(inst *instance, now time.Time) {
	const reason = "the app ended"
	policy := m.restartPolicy(inst.id)
	switch op := inst.op; {
	case op != nil && op.fate != nil:
		*op.fate = m.failedLocked(inst, now, reason, policy)
	case op == nil && inst.state == tenant.Asleep:
		f := m.failedLocked(inst, now, reason, policy)
		inst.setLocked(f.state, now, f.reason)
		m.settledLocked(inst, now, f)
	case policy == config.RestartNever:
	default:
		m.saveSoon()
		inst.brake.restarts++
		m.observer.Happened(inst.id, tenant.StartedAgain)
		spent := inst.brake.fail(now, m.config.Load().Settings)
		if op != nil || !believedRunning(inst) {
			return // its next end shows that there were too many
		}
		if spent {
			m.beginStopForLocked(inst, reason, &fate{state: tenant.Failed, reason: reason})
			return
		}
		inst.brake.release()
	}
}
