package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"tenement.dev/internal/event"
	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// recoverWidth is how many instances are recovered at a time.
const recoverWidth = 16

// statusTimeout bounds the question to a ten-init whether its app dozes.
const statusTimeout = 2 * time.Second

// recover reads the registry and adopts what an earlier daemon has left running.
func (m *Manager) recover(ctx context.Context) error {
	rows, err := m.store.Instances(ctx)
	if err != nil {
		return fmt.Errorf("read registry: %w", err)
	}
	if m.orderly, err = m.store.TakeOver(ctx); err != nil {
		return fmt.Errorf("read registry: %w", err)
	}
	weights, err := m.store.Weights(ctx)
	if err != nil {
		return fmt.Errorf("read weights: %w", err)
	}
	domains, err := m.store.Domains(ctx)
	if err != nil {
		return fmt.Errorf("read domains: %w", err)
	}
	claims, err := m.store.Claims(ctx)
	if err != nil {
		return fmt.Errorf("read pending domains: %w", err)
	}
	pauses, err := m.store.Pauses(ctx)
	if err != nil {
		return fmt.Errorf("read pauses: %w", err)
	}
	m.pauses.Store(&pauses)
	secrets, err := m.store.Secrets(ctx)
	if err != nil {
		return fmt.Errorf("read secrets: %w", err)
	}
	m.secrets.Store(&secrets)
	list, err := m.listLoaded(ctx)
	if err != nil {
		return fmt.Errorf("list units: %w", err)
	}
	brakes, err := m.store.Brakes(ctx)
	if err != nil {
		return fmt.Errorf("read registry: %w", err)
	}
	if m.uses != nil {
		if m.metered, err = m.uses.Metered(ctx); err != nil {
			return fmt.Errorf("read registry: %w", err)
		}
	}
	if err := m.clearStaleMarks(list); err != nil {
		return err
	}
	if err := m.controller.Discard(ctx, tenant.ID{}); err != nil { // of a daemon that was killed
		m.log.Error("copies of data not removed", "err", err)
	}
	loaded := make(map[tenant.ID]bool, len(list))
	for _, status := range list {
		loaded[status.ID] = true
	}
	now := time.Now()
	m.mu.Lock()
	m.instances = make(map[tenant.ID]*instance, len(rows))
	sorted := make([]*instance, 0, len(rows))
	for _, row := range rows {
		kept := brakes[row.ID]
		m.setBack(&row, &kept, now)
		inst := newInstance(row, kept, now, m.common)
		inst.setWeight(weights[row.ID])
		if loaded[row.ID] { // no process is left of the others
			inst.before = newBefore(row)
		}
		m.addLocked(inst)
		sorted = append(sorted, inst)
		if row.Port != 0 {
			m.ports[row.Port] = row.ID
		}
	}
	slices.SortFunc(sorted, byID) // which they are already
	m.sorted = sorted
	for _, d := range domains {
		m.domains[d.Host] = d
	}
	for _, d := range claims {
		m.claims[claim{d.Host, d.ID}] = d
	}
	m.mu.Unlock()
	if err := m.recoverLimits(ctx); err != nil {
		return err
	}
	if err := m.recoverReleases(ctx); err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(recoverWidth)
	for _, status := range list {
		inst, ok := m.lookup(status.ID)
		if !ok {
			m.log.Warn("unit of no registered instance, left alone", "unit", units.ServiceName(status.ID))
			continue
		}
		group.Go(func() error {
			m.recoverOne(ctx, inst, status)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	m.log.Info("recovered", "registered", len(rows), "loaded", len(list))
	return nil
}

// listLoaded lists what is loaded, and asks again for as long as that is not answered: nothing
// can be done without.
func (m *Manager) listLoaded(ctx context.Context) ([]units.Status, error) {
	for {
		asking, cancel := context.WithTimeout(ctx, slack)
		list, err := m.controller.List(asking)
		cancel()
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return list, err
		}
		m.log.Warn("the service manager does not answer, asking again", "err", err)
	}
}

// recoverOne adopts a running instance, and unloads the units of one that sleeps:
// they may be from another configuration, and are soon made anew.
func (m *Manager) recoverOne(ctx context.Context, inst *instance, status units.Status) {
	inst.mu.Lock()
	inst.loaded = true
	inst.mu.Unlock()
	if running(status) || status.Active == "deactivating" {
		inst.mu.Lock()
		defer inst.mu.Unlock()
		if running(status) && status.Doorbell {
			m.adoptLocked(inst)
		} else {
			m.beginStopLocked(inst, "found stopping, or without a doorbell")
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, slack)
	defer cancel()
	if err := m.unload(ctx, inst); err != nil && m.ctx.Err() == nil {
		// Its next wake unloads it first.
		m.log.Error("sleeper not unloaded", "instance", inst.id, "err", err)
	}
}

func running(s units.Status) bool { return isRunning(s.Active) }

func isRunning(active string) bool { return active == "active" || active == "activating" }

// hint follows up on a hint that contradicts what is believed.
func (m *Manager) hint(status units.Status) {
	m.mu.RLock()
	waking := m.waking[status.ID]
	m.mu.RUnlock()
	if waking != nil {
		waking.tell(status.Active)
	}
	inst, ok := m.lookup(status.ID)
	if !ok {
		return
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	inst.heardLocked(status.Exit)
	u := inst.unit.own()
	again := status.Active == u.lastHint
	u.lastHint = status.Active
	switch {
	case inst.op != nil:
		inst.op.hinted = status.Active
	case status.Active == "activating" && !again && !unitUp(inst):
		// A call that was never answered waits at the doorbell, and starts the unit again
		// and again.
		if u.unasked++; u.unasked >= maxFailures {
			m.log.Warn("starts again and again by itself, unloaded", "instance", inst.id)
			m.tasks.do(func() { m.unloadSleeper(inst) })
			return
		}
		fallthrough
	default:
		m.followLocked(inst, status.Active)
	}
}

// followLocked looks at an instance whose last hint contradicts what is believed.
func (m *Manager) followLocked(inst *instance, active string) {
	if unitUp(inst) != isRunning(active) {
		m.tasks.do(func() { m.look(m.ctx, inst) })
	}
}

// endLocked ends an operation, follows up on the last hint that came during it, and sets
// the timers of an instance that runs: those that fired meanwhile have done nothing.
func (m *Manager) endLocked(inst *instance, op *operation, err error) {
	inst.endLocked(op, err)
	if inst.removed || m.ctx.Err() != nil {
		return
	}
	m.armSoon()
	if believedRunning(inst) {
		m.watchIdleLocked(inst)
	}
	if op.hinted != "" {
		m.followLocked(inst, op.hinted)
	}
}

func believedRunning(inst *instance) bool {
	return inst.state == tenant.Awake || inst.state == tenant.Dozing
}

// look asks the service manager about one instance and settles what differs.
func (m *Manager) look(ctx context.Context, inst *instance) {
	inst.mu.Lock()
	generation := inst.generation
	inst.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, slack)
	defer cancel()
	list, err := m.controller.List(ctx, inst.id)
	if err != nil {
		if m.ctx.Err() == nil {
			m.log.Error("instance not looked at", "instance", inst.id, "err", err)
		}
		return
	}
	status := units.Status{ID: inst.id, Active: "inactive"}
	if len(list) == 1 {
		status = list[0]
	}
	if !running(status) {
		m.meterEnd(ctx, inst, generation)
	}
	m.settle(inst, generation, status)
}

// reconcile compares every instance with what the service manager says.
func (m *Manager) reconcile(ctx context.Context) {
	m.checkArmed()
	m.mu.RLock()
	for _, waking := range m.waking {
		waking.tell("")
	}
	m.mu.RUnlock()
	generations := map[*instance]uint64{}
	for _, inst := range m.all() {
		inst.mu.Lock()
		if inst.loaded || believedRunning(inst) {
			generations[inst] = inst.generation
		}
		inst.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(ctx, slack)
	defer cancel()
	list, err := m.controller.List(ctx)
	if err != nil {
		if m.ctx.Err() == nil {
			m.log.Error("not reconciled", "err", err)
		}
		return
	}
	for _, status := range list {
		inst, ok := m.lookup(status.ID)
		if !ok {
			continue
		}
		generation, expected := generations[inst]
		delete(generations, inst)
		if expected && (running(status) || !inst.seenRunning()) {
			m.settle(inst, generation, status)
		} else if expected || running(status) { // one by one they tell more
			m.look(ctx, inst)
		}
	}
	for inst, generation := range generations {
		m.settle(inst, generation, units.Status{ID: inst.id, Active: "inactive"})
	}
}

// seenRunning is believedRunning for those who do not hold the lock.
func (i *instance) seenRunning() bool {
	state := tenant.State(i.seen.Load())
	return state == tenant.Awake || state == tenant.Dozing
}

// settle brings the state in line with status, which was true when the instance had
// the given generation; if it has moved on since, nothing changes.
func (m *Manager) settle(inst *instance, generation uint64, status units.Status) {
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if inst.generation != generation || inst.op != nil || inst.removed {
		return
	}
	now := time.Now()
	switch {
	case inst.armed:
		m.settleArmedLocked(inst, now, status)
	case running(status) && !status.Doorbell:
		// Nothing can reach it any more. It starts anew with its doorbell.
		inst.loaded, inst.unit.own().fingerprint = true, ""
		m.beginStopLocked(inst, "lost its doorbell")
	case status.Active == "deactivating" && believedRunning(inst):
		inst.loaded = status.Doorbell
		if e := endOf(status.Exit); !e.asked && !unseen(status.Exit) {
			f := m.fateLocked(inst, now, e) // what it has left is being stopped
			m.beginStopForLocked(inst, f.reason, &f)
			return
		}
		m.beginStopLocked(inst, "stopped from outside")
	case status.Active == "active" && !believedRunning(inst):
		// One that is only activating may be about to end a start that has failed: to
		// ring at its door would start it again.
		m.adoptLocked(inst)
	case !running(status) && believedRunning(inst):
		m.endedLocked(inst, now, inst.endFoundLocked(status))
	case !running(status) && inst.loaded && !status.Doorbell:
		inst.loaded, inst.unit.own().fingerprint = false, ""
		m.tasks.do(func() { m.awakeAgain(inst) })
	default:
		m.tuneLocked(inst) // what could not be set before
	}
}

// endFoundLocked is the end of a process that a look has found gone.
func (i *instance) endFoundLocked(status units.Status) end {
	i.loaded = status.Doorbell
	again := status.Active == "failed" && unseen(status.Exit) // somebody has rung meanwhile
	if status.Active == "failed" && !again {
		i.unit.own().fingerprint = "" // the next start is from clean units
	}
	var e end
	switch {
	case i.process.get().exit != nil:
		e = endOf(*i.process.get().exit)
	case status.Exit.Result == "": // nothing of it is loaded any more
		e = end{reason: "stopped from outside", asked: true}
	default:
		e = endOf(status.Exit)
	}
	e.running = again
	return e
}

// adoptLocked takes over an instance that runs without our having woken it: from an
// earlier daemon, or started by hand.
func (m *Manager) adoptLocked(inst *instance) {
	op := inst.beginLocked(true)
	inst.loaded, inst.unit.own().fingerprint = true, ""
	inst.unit.own().applied = nil // it may still be boosted
	now := time.Now()
	inst.setLocked(tenant.Waking, now, "")
	m.tasks.do(func() { m.adopt(inst, op) })
}

func (m *Manager) adopt(inst *instance, op *operation) {
	m.awakeAgain(inst)
	ctx, cancel := context.WithTimeout(m.ctx, statusTimeout)
	defer cancel()
	answer, err := m.doorbell(inst.id).Do(ctx, ingress.Status)
	if err == nil && answer.Armed {
		m.adoptArmed(ctx, inst, op)
		return
	}
	inst.mu.Lock()
	left := inst.takeBeforeLocked()
	if err != nil || !left.same(answer) {
		inst.wokenLocked(tenant.CauseAdopted, time.Now())
		inst.lastWake = nil // it may have been another one
	}
	inst.mu.Unlock()
	if err != nil || answer.ReadyAt == 0 {
		// Still starting, or it only seems to run: that is a wake as any other, and one
		// that is not answered ends with the units unloaded.
		asked := time.Now()
		w := &tenant.Wake{Kind: tenant.WakeCold, At: asked}
		var spare net.Conn
		service, err := m.service("adopt", inst.id)
		if err == nil {
			ctx, cancel := context.WithTimeout(m.ctx, startPatience(service))
			defer cancel()
			if spare, err = m.ring(ctx, inst, w); err != nil {
				err = m.startError(inst, service, err)
			} else {
				spare, err = m.becomeHealthy(ctx, inst, service, w, spare)
			}
		}
		w.Total = time.Since(asked)
		m.endWake(inst, op, w, spare, err)
		return
	}
	if !answer.Dozing {
		m.awaitAdopted(inst, answer)
	}
	inst.mu.Lock()
	now := time.Now()
	state := tenant.Awake
	if answer.Dozing {
		state = tenant.Dozing
	}
	inst.brake.made.release()
	inst.changedLocked()
	inst.reviving = false
	inst.unit.own().unasked = 0
	inst.startedAt = answer.InitAt
	inst.setLocked(state, now, "")
	m.resumeLocked(inst, now)
	inst.goOnLocked(now, left, answer, m.orderly)
	m.watchIdleLocked(inst)
	m.tuneLocked(inst)
	m.tell(event.Adopted, inst.id, slog.String("state", state.String()))
	// Requests that have joined want it awake: they look again.
	op.wake = false
	m.endLocked(inst, op, nil)
	inst.mu.Unlock()
}
