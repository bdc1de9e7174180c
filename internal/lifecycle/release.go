package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tenement.dev/internal/config"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

// ReleaseStore remembers the releases of instances and services.
type ReleaseStore interface {
	Releases(ctx context.Context) ([]registry.Release, error)
	SetReleases(ctx context.Context, list []registry.Release) error
	ServiceReleases(ctx context.Context) (map[string]string, error)
	SetServiceRelease(ctx context.Context, service, release string) error
}

// released is what is known of an instance's release.
type released struct {
	// own is the instance's, empty for its service's; before is what it had before the
	// rollout that goes on, and step how far that has got with it.
	own, before string
	step        tenant.Step
	// running is the one that its process was started with, empty where nobody knows.
	running string
	// ailing: it has failed with the release before already, so that a failure says
	// nothing of the new one.
	ailing bool
	// refused is why its last start with the new release was one with the old instead.
	refused error
}

// runsWithLocked notes what release the instance's process is started with.
func (i *instance) runsWithLocked(release string) {
	if i.released.get().running != release {
		i.released.own().running = release
	}
}

// recoverReleases takes over the releases from the registry.
func (m *Manager) recoverReleases(ctx context.Context) error {
	list, err := m.store.Releases(ctx)
	if err != nil {
		return fmt.Errorf("read releases: %w", err)
	}
	services, err := m.store.ServiceReleases(ctx)
	if err != nil {
		return fmt.Errorf("read releases: %w", err)
	}
	m.mu.Lock()
	m.releases = services
	m.mu.Unlock()
	for _, l := range list {
		inst, ok := m.lookup(l.ID)
		if !ok {
			continue
		}
		inst.mu.Lock()
		r := inst.released.own()
		*r = released{own: l.Release, before: l.Before, step: l.Step, running: l.Release}
		if l.Step == tenant.StepChanging {
			r.running = "" // the one or the other
		}
		inst.mu.Unlock()
	}
	return nil
}

// releaseLocked is the release that the instance's next start gets, empty where its
// service has none. The instance's lock is held.
func (m *Manager) releaseLocked(inst *instance, cfg *config.Config) string {
	service, ok := cfg.Services[inst.id.Service]
	if !ok || service.Release == "" {
		return ""
	}
	if own := inst.released.get().own; own != "" {
		return own
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if r, ok := m.releases[inst.id.Service]; ok {
		return r
	}
	return service.Release
}

// releasedLocked tells of the instance's release. Its lock is held.
func (m *Manager) releasedLocked(inst *instance) tenant.Released {
	r := inst.released.get()
	return tenant.Released{
		ID: inst.id, State: inst.state, Release: m.releaseLocked(inst, m.config.Load()), Running: r.running, Before: r.before, Step: r.step,
	}
}

// addReleaseLocked adds it to what people may know.
func (m *Manager) addReleaseLocked(inst *instance, s *tenant.Snapshot) {
	r := m.releasedLocked(inst)
	s.Release = r.Release
	if believedRunning(inst) && r.Release != "" && r.Running != "" && r.Running != r.Release {
		s.Release, s.NextRelease = r.Running, r.Release
	}
}

// Releases tells of the releases of a service's instances, sorted by name.
func (m *Manager) Releases(service string) []tenant.Released {
	var list []tenant.Released
	for _, inst := range m.all() {
		if inst.id.Service == service {
			inst.mu.Lock()
			if !inst.removed {
				list = append(list, m.releasedLocked(inst))
			}
			inst.mu.Unlock()
		}
	}
	return list
}

// Running is the release that the instance's process was started with, empty where it has none.
func (m *Manager) Running(id tenant.ID) string {
	inst, ok := m.lookup(id)
	if !ok {
		return ""
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	return inst.released.get().running
}

// ServiceRelease is the release of a service's new instances, empty where it has none.
func (m *Manager) ServiceRelease(service string) string {
	s, ok := m.config.Load().Services[service]
	if !ok || s.Release == "" {
		return ""
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if r, ok := m.releases[service]; ok {
		return r
	}
	return s.Release
}

// SetServiceRelease sets it, for good.
func (m *Manager) SetServiceRelease(ctx context.Context, service, release string) error {
	if err := m.store.SetServiceRelease(ctx, service, release); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.releases[service] = release
	return nil
}

// SetReleases gives instances their releases, all or none of them; those that are not
// registered any more are passed over. Nothing is started or stopped: an instance gets
// its release with its next start. While its step is not StepNone it is on trial: where a
// start with it fails, the instance is started with the one before instead, and Refused
// is told. One that has failed is to try again with another release.
func (m *Manager) SetReleases(ctx context.Context, list []registry.Release) error {
	if err := m.store.SetReleases(ctx, list); err != nil {
		return err
	}
	for _, l := range list {
		inst, ok := m.lookup(l.ID)
		if !ok {
			continue
		}
		inst.mu.Lock()
		r := inst.released.own()
		if other := m.releaseLocked(inst, m.config.Load()) != l.Release; other {
			r.ailing = inst.state == tenant.Failed || len(inst.brake.get().failures) > 0
			if inst.state == tenant.Failed && inst.op == nil && !inst.removed {
				inst.brake.made.reset()
				inst.changedLocked()
				inst.rested = "it has failed with another release"
				inst.setLocked(tenant.Asleep, time.Now(), "")
			}
		}
		r.own, r.before, r.step = l.Release, l.Before, l.Step
		inst.mu.Unlock()
	}
	m.saveSoon()
	return nil
}

// Renew has an instance that runs with another release than its own restarted, with its
// requests held; one at rest is left alone, or started where wake says so. It returns when
// that is done, and whether something was. Where it did not start with its release, the
// error says why, even if it runs with the one before now.
func (m *Manager) Renew(ctx context.Context, id tenant.ID, wake bool) (started bool, err error) {
	inst, err := m.find(ctx, "renew", id)
	if tenant.CodeOf(err) == tenant.CodeNotFound {
		return false, nil // destroyed meanwhile
	}
	if err != nil {
		return false, err
	}
	err = m.exclusive(ctx, inst, func() *operation {
		if r := inst.released.made; r != nil {
			r.refused = nil
		}
		release := m.releaseLocked(inst, m.config.Load())
		if !believedRunning(inst) {
			started = wake && !inst.removed
			return nil
		}
		if inst.removed || inst.released.get().running == release {
			return nil
		}
		started = true
		return m.beginStopLocked(inst, "release "+release)
	})
	if err != nil || !started {
		return started, err
	}
	err = m.wakeByHand(tenant.WithCause(ctx, tenant.CauseRelease), inst)
	inst.mu.Lock()
	defer inst.mu.Unlock()
	switch refused := inst.released.get().refused; {
	case refused != nil:
		return true, refused
	case tenant.CodeOf(err) == tenant.CodeNotFound && inst.removed:
		return true, nil
	}
	return true, err
}

// fallBack has an instance whose start has failed while its release is on trial take the
// one before again, and reports whether it is to be started with that.
func (m *Manager) fallBack(inst *instance, err error) bool {
	if code := tenant.CodeOf(err); code != tenant.CodeStartFailed && code != tenant.CodeStartTimeout || m.ctx.Err() != nil {
		return false
	}
	inst.mu.Lock()
	r := inst.released.own()
	if r.step == tenant.StepNone || r.ailing || r.before == "" || r.before == r.own || r.running != r.own {
		inst.mu.Unlock()
		return false
	}
	release, before := r.own, r.before
	r.own, r.refused = before, err
	inst.mu.Unlock()
	m.log.Error("did not start with its new release, started with the one before", "instance", inst.id, "release", release, "before", before, "err", err)
	m.refused(inst.id, release, err)
	return true
}

// CheckRelease looks whether a service could be run with a release. The error is a
// *tenant.Error.
func (m *Manager) CheckRelease(service, release string) error {
	cfg := m.config.Load()
	id := tenant.ID{Service: service, Name: "any"}
	if list := m.Releases(service); len(list) > 0 {
		id = list[0].ID
	}
	// Any port will do for a look.
	err := cfg.CheckRelease(id, config.Placement{Port: cfg.Settings.PortMin, SocketDir: m.socketDir(id), Release: release})
	var e *tenant.Error
	if errors.As(err, &e) && e.Code == tenant.CodeStartFailed {
		told := *e
		told.Code = tenant.CodeInvalid // nothing was started
		return &told
	}
	return err
}
