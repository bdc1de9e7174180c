package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"tenement.dev/internal/archive"
	"tenement.dev/internal/config"
	"tenement.dev/internal/event"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

// Restore replaces an instance's data with that of an archive, which may be another's. It
// is checked before the instance is stopped; one that ran is started again.
func (m *Manager) Restore(ctx context.Context, id tenant.ID, r io.Reader, o tenant.RestoreOptions) (tenant.Restored, error) {
	inst, err := m.find(ctx, "restore", id)
	if err != nil {
		return tenant.Restored{}, err
	}
	leave, err := m.claimData("restore", id)
	if err != nil {
		return tenant.Restored{}, err
	}
	defer leave()
	inst.mu.Lock()
	own := inst.limits.get().own
	inst.mu.Unlock()
	res, err := m.unpack(ctx, id, r, o, func(tenant.Backup) (tenant.Limits, error) { return own, nil })
	if err != nil {
		return res, err
	}
	defer m.discard(id)
	begun := time.Now()
	ran, err := m.replaceData(ctx, inst, o.KeepOld, &res)
	if err != nil {
		return res, err
	}
	m.tellRestored(ctx, id, res)
	if ran && !m.isPaused(id) {
		if err = m.wakeByHand(tenant.WithCause(ctx, tenant.CauseRestart), inst); err != nil {
			var known *tenant.Error
			if errors.As(err, &known) {
				told := *known
				told.Msg = "the data is restored, and then: " + told.Msg
				err = &told
			}
		}
	}
	res.DownMS = float64(time.Since(begun).Microseconds()) / 1000
	return res, err
}

func (m *Manager) tellRestored(ctx context.Context, id tenant.ID, res tenant.Restored) {
	m.tellOf(ctx, event.Restored, id, slog.String("from", res.From.Instance.String()), slog.Time("taken_at", res.From.TakenAt),
		slog.Int64("bytes", res.Bytes), slog.Int("files", res.Files), slog.String("kept", res.Kept))
}

// discard removes what is left of what a restore has unpacked.
func (m *Manager) discard(id tenant.ID) {
	if err := m.controller.Discard(context.WithoutCancel(m.ctx), id); err != nil {
		m.log.Error("copy of data not removed", "instance", id, "err", err)
	}
}

// unpack reads an archive into a place beside the data of an instance, which need not be
// registered. allow says what limits it is to have, of its own, and may refuse.
func (m *Manager) unpack(ctx context.Context, id tenant.ID, r io.Reader, o tenant.RestoreOptions, allow func(tenant.Backup) (tenant.Limits, error)) (res tenant.Restored, err error) {
	ctx, cancel := m.bothEnd(ctx, archiveTimeout)
	defer cancel()
	plain, err := archive.Decompress(r)
	if err != nil {
		return res, fmt.Errorf("restore %s: %w", id, err)
	}
	defer plain.Close()
	from, all, err := archive.ReadManifest(plain)
	if err != nil {
		return res, err
	}
	res.From = from
	own, err := allow(from)
	if err != nil {
		return res, err
	}
	cfg := m.config.Load()
	service, err := m.service("restore", id)
	if err != nil {
		return res, err
	}
	// It is about the owner of the data only: any port and release will do.
	spec, err := cfg.Spec(id, config.Placement{Port: cfg.Settings.PortMin, SocketDir: m.socketDir(id), Limits: own, Release: service.Release})
	if err != nil {
		return res, err
	}
	res.DataSize, err = m.controller.Unpack(ctx, spec, all, tenant.Unpacking{
		Size: from.DataSize, Bytes: own.Or(service.Limits).Get(tenant.LimitStorage), Replace: o.Force, OutsideLinks: o.OutsideLinks,
	})
	return res, err
}

// replaceData stops an instance, puts what was unpacked in the place of its data, and
// reports whether it ran.
func (m *Manager) replaceData(ctx context.Context, inst *instance, keep bool, res *tenant.Restored) (ran bool, err error) {
	var op *operation
	err = m.exclusiveNow(ctx, inst, func() *operation {
		if inst.removed {
			return nil
		}
		op = inst.beginLocked(false)
		ran = believedRunning(inst)
		inst.setLocked(tenant.Stopping, time.Now(), "restore")
		m.tasks.do(func() {
			oerr := m.stopAndReplace(inst, keep, res)
			inst.mu.Lock()
			defer inst.mu.Unlock()
			if oerr == nil {
				inst.brake.made.reset()
				inst.changedLocked()
				inst.restForGoodLocked()
				*inst.storage.own() = stored{unseen: true}
			}
			inst.rested = "restored"
			inst.setLocked(tenant.Asleep, time.Now(), "")
			m.endLocked(inst, op, oerr)
			if oerr != nil && m.ctx.Err() == nil {
				m.tasks.do(func() { m.look(m.ctx, inst) })
			}
		})
		return op
	})
	if op == nil && err == nil {
		return false, tenant.NoInstance("restore", inst.id)
	}
	if op != nil {
		<-op.done // it is not left halfway
		err = op.err
	}
	return ran, err
}

func (m *Manager) stopAndReplace(inst *instance, keep bool, res *tenant.Restored) error {
	m.endProbe(inst)
	m.drain(m.ctx, inst, m.stopGrace(inst))
	m.meter(inst)
	if err := m.soon(inst, m.unload); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(m.ctx, wipeTimeout)
	defer cancel()
	kept, err := m.controller.Replace(ctx, inst.id, keep)
	res.Kept = kept
	return err
}

// Import makes an instance of an archive, with its data and, unless o says otherwise, its
// entry in the registry: weight, limits, host names, release, pause and lease. What another
// has already is a *tenant.Error with CodeConflict, and then nothing is made.
func (m *Manager) Import(ctx context.Context, id tenant.ID, r io.Reader, o tenant.RestoreOptions) (res tenant.Restored, err error) {
	if err := m.awaitReady(ctx, "import", id); err != nil {
		return res, err
	}
	service, err := m.service("import", id)
	if err != nil {
		return res, err
	}
	leave, err := m.claimData("import", id)
	if err != nil {
		return res, err
	}
	defer leave()
	o.Force = false
	res, err = m.unpack(ctx, id, r, o, func(b tenant.Backup) (tenant.Limits, error) {
		if o.DataOnly {
			return nil, m.isFree(id)
		}
		return limitsOf(b.Entry), errors.Join(m.isFree(id), m.checkEntry(id, b.Entry))
	})
	if err != nil {
		return res, err
	}
	defer m.discard(id)
	entry := res.From.Entry
	if o.DataOnly {
		entry = tenant.Entry{}
	}
	var weight tenant.Weight
	if entry.Weight != nil {
		weight = tenant.Weight{N: *entry.Weight, Set: true}
	}
	asked := context.WithoutCancel(ctx) // from here on it is done, or undone
	inst, added, err := m.registerWith(tenant.WithCause(asked, tenant.CauseImport), id, service.MaxInstances, weight, func(inst *instance) error {
		if err := m.setEntry(asked, inst, entry, &res); err != nil {
			return err
		}
		if err := m.unload(m.ctx, inst); err != nil { // what an earlier one of the name may have left
			return err
		}
		_, err := m.controller.Replace(m.ctx, id, false)
		return err
	})
	if err == nil && !added {
		err = m.isFree(id)
	}
	if err != nil {
		return res, err
	}
	inst.mu.Lock()
	inst.storage.own().unseen = true
	inst.mu.Unlock()
	m.tellRestored(ctx, id, res)
	return res, nil
}

// isFree is an error for people where there is an instance of that name.
func (m *Manager) isFree(id tenant.ID) error {
	if _, ok := m.lookup(id); !ok {
		return nil
	}
	return &tenant.Error{
		Code: tenant.CodeConflict, Op: "import", ID: id,
		Msg:  fmt.Sprintf("there is an instance %s already", id),
		Hint: "--as gives it another name; `ten restore` replaces the data of one that exists",
	}
}

// checkEntry looks whether an instance could be given what an archive says.
func (m *Manager) checkEntry(id tenant.ID, e tenant.Entry) error {
	const hint = "--data-only imports it without weight, limits, host names, release and pause"
	conflict := func(format string, args ...any) error {
		return &tenant.Error{Code: tenant.CodeConflict, Op: "import", ID: id, Msg: fmt.Sprintf(format, args...), Hint: hint}
	}
	for _, host := range e.Domains {
		parsed, err := tenant.ParseHost(host)
		if err != nil || parsed != host {
			return conflict("%.100q is not a host name", host)
		}
		if other, ok := m.Domain(host); ok {
			return conflict("the host name %s belongs to %s", host, other)
		}
		if m.reserved(host) {
			return conflict("the host name %s is below the daemon's own domain", host)
		}
	}
	if e.Weight != nil && (*e.Weight < 0 || *e.Weight > tenant.MaxWeight) {
		return conflict("%d is not a weight", *e.Weight)
	}
	if err := limitsOf(e).Check(); err != nil {
		return err
	}
	if e.Paused != nil {
		if err := tenant.CheckPauseMessage(e.Paused.Message); err != nil {
			return err
		}
	}
	if e.Release == "" {
		return nil
	}
	if err := tenant.CheckRelease(e.Release); err != nil {
		return err
	}
	if m.ServiceRelease(id.Service) == "" {
		return conflict("it is pinned to release %s, and service %s has no releases here", e.Release, id.Service)
	}
	return m.CheckRelease(id.Service, e.Release)
}

// setEntry gives a new instance, within its operation, what an archive says.
func (m *Manager) setEntry(ctx context.Context, inst *instance, e tenant.Entry, res *tenant.Restored) error {
	now := time.Now()
	if e.Paused != nil && e.Paused.Holds(now) {
		if err := m.changePauses(func(all map[tenant.ID]tenant.Pause) error {
			p := *e.Paused
			p.Service = false
			all[inst.id] = p
			return m.store.SetPause(ctx, inst.id, p)
		}); err != nil {
			return err
		}
	}
	if limits := limitsOf(e); len(limits) > 0 {
		if err := m.changeLimits(ctx, inst, tenant.LimitChange{Set: limits}); err != nil {
			return err
		}
	}
	if e.Release != "" {
		if err := m.SetReleases(ctx, []registry.Release{{ID: inst.id, Release: e.Release}}); err != nil {
			return err
		}
	}
	inst.mu.Lock()
	if until, most := e.KeepAwake, now.Add(maxOperatorLease); until.After(now) {
		if until.After(most) { // of a server whose clock is ahead, or of nobody
			until = most
		}
		inst.leases.own().operator = until
		inst.changedLocked()
	}
	inst.mu.Unlock()
	for _, host := range e.Domains {
		d, _, err := m.addDomain(ctx, host, inst.id, m.Config().Settings.VerifyDomains)
		if err != nil {
			return err
		}
		if d.Pending() {
			res.Pending = append(res.Pending, host)
		}
	}
	return nil
}
