package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"tenement.dev/internal/archive"
	"tenement.dev/internal/event"
	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
)

const (
	// copyTimeout bounds a copy of data, for which an app is frozen.
	copyTimeout = 10 * time.Minute
	// archiveTimeout bounds an archive's way to or from its client.
	archiveTimeout = time.Hour
	// maxCopies is how many copies are made at a time.
	maxCopies = 2
	// flushTimeout bounds what is done before it, while the app goes on.
	flushTimeout = 2 * time.Minute
	// freezeTimeout bounds how long ten-init may take to freeze an app, or let it go.
	freezeTimeout = 10 * time.Second
)

// Backup copies an instance's data as it is at one moment. An app that runs is frozen for
// that, and requests wait; one that sleeps is not woken, and cannot be meanwhile. write
// writes the copy as an archive, compressed; drop must be called after it, or instead.
func (m *Manager) Backup(ctx context.Context, id tenant.ID) (b tenant.Backup, write func(context.Context, io.Writer) error, drop func(), err error) {
	inst, err := m.find(ctx, "back up", id)
	if err != nil {
		return b, nil, nil, err
	}
	leave, err := m.claimData("back up", id)
	if err != nil {
		return b, nil, nil, err
	}
	select {
	case m.copies <- struct{}{}:
		b, err = m.snapshotData(ctx, inst)
		<-m.copies
	case <-ctx.Done():
		err = m.copyError(ctx, id, context.Cause(ctx))
	}
	if err != nil {
		leave()
		return b, nil, nil, err
	}
	m.tellOf(ctx, event.BackedUp, id, slog.Int64("bytes", b.Bytes), slog.Int("files", b.Files),
		slog.Duration("frozen", time.Duration(b.FrozenMS*float64(time.Millisecond))))
	write = func(ctx context.Context, w io.Writer) error {
		ctx, cancel := m.bothEnd(ctx, archiveTimeout)
		defer cancel()
		return m.writeArchive(ctx, b, w)
	}
	drop = func() {
		if err := m.controller.Discard(context.WithoutCancel(ctx), id); err != nil {
			m.log.Error("copy of data not removed", "instance", id, "err", err)
		}
		leave()
	}
	return b, write, drop, nil
}

func (m *Manager) writeArchive(ctx context.Context, b tenant.Backup, w io.Writer) error {
	z, err := archive.Compress(w)
	if err == nil {
		err = archive.WriteManifest(z, b)
	}
	if err == nil {
		err = m.controller.Pack(ctx, b.Instance, z)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return fmt.Errorf("write backup of %s: %w", b.Instance, err)
	}
	return nil
}

// bothEnd gives a context that ends with ctx, with the Manager's and after d.
func (m *Manager) bothEnd(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	stop := context.AfterFunc(m.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// claimData makes the caller the only one who copies or replaces an instance's data, until
// leave is called.
func (m *Manager) claimData(op string, id tenant.ID) (leave func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.copying[id] {
		return nil, &tenant.Error{
			Code: tenant.CodeConflict, Op: op, ID: id,
			Msg:  fmt.Sprintf("%s is being backed up or restored", id),
			Hint: "try again when that is done",
		}
	}
	m.copying[id] = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.copying, id)
	}, nil
}

// snapshotData has an instance's data copied, again where its process has ended just when
// it was to be frozen.
func (m *Manager) snapshotData(ctx context.Context, inst *instance) (b tenant.Backup, err error) {
	if inst.seenRunning() {
		flushing, cancel := context.WithTimeout(ctx, flushTimeout)
		m.controller.Flush(flushing, inst.id)
		cancel()
	}
	for range maxRings {
		b, err = m.snapshotOnce(ctx, inst)
		if err == nil || ctx.Err() != nil || !errors.Is(err, errAnother) && !errors.Is(err, ingress.ErrNoDoorbell) && !ringAgain(err) {
			break
		}
		m.look(m.ctx, inst)
	}
	if err != nil {
		return b, m.copyError(ctx, inst.id, err)
	}
	return b, nil
}

// snapshotOnce is an operation, so that nobody wakes, stops or destroys the instance
// meanwhile. Its process is the same after it.
func (m *Manager) snapshotOnce(ctx context.Context, inst *instance) (b tenant.Backup, err error) {
	var op *operation
	err = m.exclusive(ctx, inst, func() *operation {
		if inst.removed {
			return nil
		}
		op = inst.beginLocked(false)
		op.same = believedRunning(inst)
		copying, cancel := context.WithCancelCause(m.ctx)
		op.endByLocked(cancel)
		stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
		b = m.describeLocked(inst)
		m.tasks.do(func() {
			defer cancel(nil)
			defer stop()
			oerr := m.copyData(copying, inst, op.same, &b)
			if oerr != nil && context.Cause(copying) != nil {
				oerr = context.Cause(copying)
			}
			inst.mu.Lock()
			m.endLocked(inst, op, oerr)
			inst.mu.Unlock()
		})
		return op
	})
	switch {
	case op != nil:
		<-op.done // soon, also where the client has left
		if err = op.err; err == nil && ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), m.controller.Discard(context.WithoutCancel(ctx), inst.id))
		}
		return b, err
	case err == nil:
		err = tenant.NoInstance("back up", inst.id)
	}
	return b, err
}

// copyData copies the data of an instance, which is frozen or unloaded for that. Only the
// instance's operation may call it.
func (m *Manager) copyData(ctx context.Context, inst *instance, runs bool, b *tenant.Backup) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, copyTimeout, errSlowCopy)
	defer cancel()
	if !runs {
		// Its doorbell shall not start it. That is not left halfway.
		unloading, done := context.WithTimeout(m.ctx, slack)
		defer done()
		if err := m.unload(unloading, inst); err != nil {
			return err
		}
		b.DataSize, err = m.controller.Snapshot(ctx, inst.id)
		return causeOf(ctx, err)
	}
	m.endProbe(inst)
	release, err := m.freeze(ctx, inst)
	if err != nil {
		return err
	}
	begun := time.Now()
	b.DataSize, err = m.controller.Snapshot(ctx, inst.id)
	thawing, done := context.WithTimeout(context.WithoutCancel(ctx), freezeTimeout)
	defer done()
	rerr := release(thawing)
	b.FrozenMS = float64(time.Since(begun).Microseconds()) / 1000
	if err == nil && rerr != nil { // it may have written meanwhile
		err = errors.Join(rerr, m.controller.Discard(context.WithoutCancel(ctx), inst.id))
	}
	return causeOf(ctx, err)
}

// errSlowCopy says that a copy has taken too long.
var errSlowCopy = fmt.Errorf("not copied within %v", copyTimeout)

// causeOf is err, or why ctx has ended where that is the reason.
func causeOf(ctx context.Context, err error) error {
	if err != nil && context.Cause(ctx) != nil {
		return context.Cause(ctx)
	}
	return err
}

// freeze has the app of an instance frozen, if its process is the one that is known.
func (m *Manager) freeze(ctx context.Context, inst *instance) (release func(context.Context) error, err error) {
	ctx, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	release, answer, err := m.doorbell(inst.id).Freeze(ctx)
	if err != nil {
		return nil, err
	}
	inst.mu.Lock()
	same := answer.InitAt == inst.startedAt
	inst.mu.Unlock()
	if !same {
		return nil, errors.Join(errAnother, release(ctx))
	}
	return release, nil
}

// describeLocked is what an archive says of the instance.
func (m *Manager) describeLocked(inst *instance) tenant.Backup {
	b := tenant.Backup{Format: tenant.BackupFormat, Instance: inst.id, State: inst.state, TakenAt: time.Now().UTC(), Release: inst.released.get().running}
	e := &b.Entry
	e.Created, e.Release = inst.created.time(), inst.released.get().own
	if now := time.Now(); inst.leases.get().operator.After(now) {
		e.KeepAwake = inst.leases.get().operator
	}
	for limit, v := range inst.limits.get().own {
		if e.Limits == nil {
			e.Limits = map[string]int64{}
		}
		e.Limits[string(limit)] = v
	}
	if p, ok := (*m.pauses.Load())[inst.id]; ok && p.Holds(b.TakenAt) {
		e.Paused = &p
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if w := inst.weight.get(); w.Set {
		e.Weight = &w.N
	}
	for host, d := range m.domains {
		if d.ID == inst.id {
			e.Domains = append(e.Domains, host)
		}
	}
	slices.Sort(e.Domains)
	return b
}

// copyError says why an instance's data was not copied.
func (m *Manager) copyError(ctx context.Context, id tenant.ID, err error) error {
	var known *tenant.Error
	if errors.As(err, &known) {
		return err
	}
	e := &tenant.Error{Code: tenant.CodeUnavailable, Op: "back up", ID: id, Err: err, Hint: "try again"}
	var refusal *ingress.Refusal
	errors.As(err, &refusal)
	switch {
	case ctx.Err() != nil:
		e.Msg = "the request ended before the data was copied"
	case errors.Is(err, errToldToStop):
		e.Code, e.Msg = tenant.CodeConflict, fmt.Sprintf("%s was told to stop while its data was copied", id)
	case errors.Is(err, errSlowCopy):
		e.Code, e.Msg = tenant.CodeLimit, fmt.Sprintf("the data of %s was not copied within %v", id, copyTimeout)
		e.Hint = "a file system with reflinks (btrfs, xfs) for data_dir copies any amount at once"
	case refusal != nil && refusal.Class == ingress.ClassUnsupported:
		e.Code, e.Msg = tenant.CodeUnsupported, fmt.Sprintf("%s cannot be frozen on this machine: %s", id, refusal.Text)
		e.Hint = fmt.Sprintf("`ten stop %s` first: who sleeps need not be", id)
	case refusal != nil && refusal.Class == ingress.ClassBadRequest:
		e.Code, e.Msg = tenant.CodeConflict, fmt.Sprintf("%s was started by an earlier version, which cannot hold it frozen", id)
		e.Hint = fmt.Sprintf("`ten restart %s` starts it with the present one", id)
	case refusal != nil && refusal.Class == ingress.ClassNotFrozen, errors.Is(err, context.DeadlineExceeded):
		e.Msg = fmt.Sprintf("%s could not be frozen in time", id)
	case refusal != nil, errors.Is(err, ingress.ErrHungUp), errors.Is(err, ingress.ErrNoDoorbell), errors.Is(err, errAnother):
		e.Msg = fmt.Sprintf("%s ended while its data was to be copied", id)
	default:
		return fmt.Errorf("back up %s: %w", id, err)
	}
	return e
}

// limitsOf are an archive's limits, of those that this version knows.
func limitsOf(e tenant.Entry) tenant.Limits {
	limits := tenant.Limits{}
	for name, v := range e.Limits {
		if limit := tenant.Limit(name); limit.Known() {
			limits[limit] = v
		}
	}
	return limits
}
