package lifecycle

import (
	"context"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// judgeTime is how long the hint of an end may take that somebody has noticed.
const judgeTime = 2 * time.Second

// end is how an app came to its end that the Manager has not stopped.
type end struct {
	reason string
	// clean: with success; asked: somebody else had it stopped. What is neither is a failure.
	clean, asked bool
	// running: the next process may run already, since somebody rang; wanted: whoever
	// noticed asks for it next.
	running, wanted bool
}

// unseenEnd is the reason where nobody knows how an app ended.
const unseenEnd = "the app was killed, or its end not seen"

// endOf judges an end. One of which nothing is known is a failure: where the first process
// of a PID namespace is killed, systemd 257 may see the cgroup empty before it hears of
// that, and then says success.
func endOf(exit units.Exit) end {
	switch {
	case outOfMemory(exit):
		return end{reason: "the app ended: " + describeExit(exit)}
	case exit.Said == ingress.SaidStopping:
		return end{reason: "stopped from outside", asked: true}
	case exit.Result == "success" && (exit.Code == 1 || exit.Said == ingress.SaidClean):
		return end{reason: "the app ended by itself", clean: true}
	case unseen(exit):
		return end{reason: unseenEnd}
	default:
		return end{reason: "the app ended: " + describeExit(exit)}
	}
}

// heardLocked takes from a hint how the process has ended that is believed to run. Of an
// earlier one's end it need not know.
func (i *instance) heardLocked(exit units.Exit) {
	if exit.At <= i.startedAt || i.process.get().exit != nil {
		return
	}
	switch {
	case i.op != nil && i.op.judged != nil:
		i.process.own().exit = &exit
		close(i.op.judged)
	case i.op == nil && believedRunning(i):
		i.process.own().exit = &exit
	}
}

// noticedLocked is for who has found the process gone that the instance was awake with,
// before a look has. The next one has been started perhaps, and then no look can tell
// any more how the old one has ended; only a hint has said so, or will.
func (m *Manager) noticedLocked(inst *instance, now time.Time, wanted bool) {
	if exit := inst.process.get().exit; exit != nil {
		e := endOf(*exit)
		e.running, e.wanted = true, wanted
		m.endedLocked(inst, now, e)
		return
	}
	op := inst.beginLocked(false)
	op.judged = make(chan struct{})
	inst.setLocked(tenant.Stopping, now, "the app ended")
	m.tasks.do(func() { m.judge(inst, op, wanted) })
}

// judge waits for the hint of an end, and looks where it does not come.
func (m *Manager) judge(inst *instance, op *operation, wanted bool) {
	timer := time.NewTimer(judgeTime)
	defer timer.Stop()
	e := end{reason: unseenEnd, running: true}
	select {
	case <-op.judged:
	case <-m.ctx.Done():
	case <-timer.C:
		ctx, cancel := context.WithTimeout(m.ctx, slack)
		defer cancel()
		list, err := m.controller.List(ctx, inst.id)
		if err == nil && len(list) == 1 && !running(list[0]) {
			e = endOf(list[0].Exit)
		}
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if exit := inst.process.get().exit; exit != nil {
		e = endOf(*exit)
		e.running = true
	}
	e.wanted = wanted
	now := time.Now()
	hinted := op.hinted
	inst.endLocked(op, nil)
	if m.ctx.Err() != nil {
		inst.setLocked(tenant.Asleep, now, "")
		return
	}
	m.endedLocked(inst, now, e)
	if inst.op != nil {
		inst.op.hinted = hinted
	} else if hinted != "" {
		m.followLocked(inst, hinted)
	}
}
