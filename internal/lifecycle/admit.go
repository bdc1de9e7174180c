package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"tenement.dev/internal/admission"
	"tenement.dev/internal/config"
	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// retryHeld is when a request that could not be held may try again.
const retryHeld = 5 * time.Second

// Memory is the machine's memory, as far as it matters here; package pressure has it.
type Memory interface {
	// Short says in a few words why memory is short, and nothing where it is not.
	Short() string
	// Total is how many bytes of it instances may use together, 0 where nobody knows.
	Total() int64
	// Stalls gives a value when work is held up for want of memory.
	Stalls() <-chan struct{}
}

// wakeConcurrency is how many cold starts may go on at a time.
func wakeConcurrency(s config.Settings) int {
	if s.WakeConcurrency > 0 {
		return s.WakeConcurrency
	}
	return 2 * runtime.NumCPU()
}

// takePlace waits for the place of a cold start, which is the caller's until leave. The
// wait is over when nobody waits for the wake any more, too.
func (m *Manager) takePlace(inst *instance, op *operation) (leave func(), err error) {
	inst.mu.Lock()
	if op.yields {
		inst.mu.Unlock()
		return nil, admission.ErrWithdrawn
	}
	if op.ticket == nil {
		op.ticket = m.gate.Enter(inst.id.Service, op.priority)
	}
	ticket := op.ticket
	inst.mu.Unlock()
	if err := ticket.Wait(m.ctx); err != nil {
		return nil, m.notAdmitted(inst.id, err)
	}
	return ticket.Leave, nil
}

// notAdmitted is the error of a start that has not got its place. It is in the error's
// chain.
func (m *Manager) notAdmitted(id tenant.ID, err error) error {
	if !errors.Is(err, admission.ErrTooLong) {
		return err
	}
	e := &tenant.Error{
		Code: tenant.CodeUnavailable, Op: "wake", ID: id, Err: err,
		Msg:        "too many instances start at once, and its turn has not come",
		Hint:       "what starts so slowly, or so often? wake_concurrency says how many may start at a time",
		RetryAfter: retryHeld,
	}
	if m.memory != nil {
		if why := m.memory.Short(); why != "" {
			e.Msg = "nothing more is started while memory is short: " + why
			e.Hint = "give the machine more memory or swap, or the services limits and an idle_timeout"
		}
	}
	return e
}

// neverBegun reports whether a wake has ended before it began: that is no failure of
// the app, and leaves its state as it was.
func neverBegun(err error) bool {
	return errors.Is(err, admission.ErrWithdrawn) || errors.Is(err, admission.ErrTooLong)
}

// joinLocked adds a waiter to an operation; a wake that still waits for its place has
// the priority of the most important.
func (op *operation) joinLocked(p tenant.Priority) {
	op.waiters++
	if p <= op.priority {
		return
	}
	op.priority = p
	if op.ticket != nil {
		op.ticket.Raise(p)
	}
}

// abandon takes a waiter away from an operation. A wake that nobody waits for does not
// begin; one that has begun goes on.
func (op *operation) abandon(inst *instance) {
	inst.mu.Lock()
	defer inst.mu.Unlock()
	op.waiters--
	if op.waiters == 0 && op.ticket != nil {
		op.ticket.Withdraw()
	}
}

// yieldLocked has a wake that has not begun give way to who wants the instance down, and
// no other start of the Manager's own follow it.
func (i *instance) yieldLocked(op *operation) {
	if !op.wake {
		return
	}
	i.reviving = false
	op.yields = true
	if op.ticket != nil {
		op.ticket.Withdraw()
	}
}

// hurryLocked is yieldLocked that ends also a thaw, which takes no time where it succeeds.
func (i *instance) hurryLocked(op *operation) {
	i.yieldLocked(op)
	if op.wake && op.ticket == nil {
		i.giveUpLocked(op)
	}
}

// giveUpLocked is yieldLocked that also ends a wake which has begun: somebody shall not
// have to wait for an app that hangs in order to stop it.
func (i *instance) giveUpLocked(op *operation) {
	i.yieldLocked(op)
	op.givenUp = true
	if op.cancel != nil {
		op.cancel(errToldToStop)
	}
}

// endByLocked has cancel called when somebody does not want to wait for the wake's end.
func (op *operation) endByLocked(cancel context.CancelCauseFunc) {
	op.cancel = cancel
	if op.givenUp {
		cancel(errToldToStop)
	}
}

// notThawed ends a thaw that somebody has ended, who stops the instance next. What runs
// is what dozed.
func (m *Manager) notThawed(inst *instance, op *operation) {
	inst.mu.Lock()
	defer inst.mu.Unlock()
	err := startEnded(inst.id)
	m.observer.WakeFailed(inst.id, tenant.CodeOf(err))
	m.log.Info("not thawed", "instance", inst.id, "reason", err.Error())
	m.tell(event.WakeWithdrawn, inst.id, slog.String("reason", reasonOf(err)))
	inst.setLocked(tenant.Dozing, time.Now(), "")
	m.endLocked(inst, op, err)
}

// errToldToStop is in the chain of the error of a start that somebody has ended.
var errToldToStop = errors.New("told to stop")

// startEnded is the answer to who waited for it.
func startEnded(id tenant.ID) error {
	return &tenant.Error{
		Code: tenant.CodeUnavailable, Op: "wake", ID: id, Err: errToldToStop,
		Msg:        fmt.Sprintf("%s was told to stop while it started", id),
		Hint:       "its next request starts it, if it still exists",
		RetryAfter: time.Second,
	}
}

// yielded is the answer to who waited for a wake that gave way.
func yielded(id tenant.ID) error {
	return &tenant.Error{
		Code: tenant.CodeUnavailable, Op: "wake", ID: id,
		Msg:        fmt.Sprintf("%s was told to stop before it was its turn to start", id),
		Hint:       "its next request starts it, if it still exists",
		RetryAfter: time.Second,
	}
}

// hallFull is the answer to a request that cannot be held.
func (m *Manager) hallFull(id tenant.ID) error {
	return &tenant.Error{
		Code: tenant.CodeUnavailable, Op: "wake", ID: id,
		Msg:        fmt.Sprintf("%d requests wait for instances to start, too many for one more", m.hall.Len()),
		Hint:       "is a crawler at work? max_waiting says how many may wait, of which one service gets half at most",
		RetryAfter: retryHeld,
	}
}

// memoryShort is the gate's question. Where nothing runs there is nothing whose memory
// would come back, so waiting would not help.
func (m *Manager) memoryShort(starting int) bool {
	if m.memory.Short() == "" {
		return false
	}
	if starting == 0 && !m.anyRuns() {
		return false
	}
	select {
	case m.starved <- struct{}{}:
	default:
	}
	return true
}

func (m *Manager) anyRuns() bool {
	for _, inst := range m.all() {
		inst.mu.Lock()
		runs := unitUp(inst)
		inst.mu.Unlock()
		if runs {
			return true
		}
	}
	return false
}
