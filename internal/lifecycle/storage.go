package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

const (
	// storageInterval is about how often the data of each awake instance with a limit is
	// looked at.
	storageInterval = 30 * time.Second
	// storageTimeout bounds one look, with the wait for another's to end. lookPatience is
	// how long those wait for one whom others wait for: a start has a place meanwhile.
	storageTimeout = time.Minute
	lookPatience   = 5 * time.Second
	// remeasure is how soon requests for an instance that is over its limit may have its
	// data looked at again. After a look that took long it is restShare times that long,
	// at most maxRemeasure: no instance has all looks for itself.
	remeasure    = 5 * time.Second
	restShare    = 10
	maxRemeasure = 5 * time.Minute
	// nearlyFull is the part of its limit, in percent, at which an instance is warned of,
	// and clearAgain the one below which that is over.
	nearlyFull = 80
	clearAgain = 75
)

// errOverQuota is the cause where an instance's data exceeds its limit.
var errOverQuota = errors.New("over its storage limit")

// stored is what is known of an instance's data; guarded by the instance's mu.
type stored struct {
	bytes int64
	at    time.Time // of the last look, zero for before this daemon
	next  time.Time // no look before
	// unseen: it has run since the last look, or one was cut short.
	unseen bool
	// fault says why its data cannot be measured, which counts as too much of it.
	fault string
	// enforced: the file system enforces the limit.
	enforced bool
	warned   bool
	// refused: it was said that it does not start for that.
	refused bool
}

// failureLevelLocked is how loud to say that a wake has failed: each visitor of an
// instance that is over its limit has one fail.
func (i *instance) failureLevelLocked(err error) slog.Level {
	over, said := errors.Is(err, errOverQuota), i.storage.get().refused
	if over != said {
		i.storage.own().refused = over
	}
	if over && said {
		return slog.LevelDebug
	}
	return slog.LevelError
}

// over reports whether there is more data than the limit allows, as far as is known.
func (s *stored) over(limit int64) bool {
	return limit > 0 && !s.enforced && (s.bytes > limit || s.fault != "")
}

// reason says that in words.
func (s *stored) reason(limit int64) string {
	switch {
	case s.over(limit) && s.fault != "":
		return s.fault
	case s.over(limit):
		return fmt.Sprintf("its data is %s and may be %s", tenant.FormatBytes(s.bytes), tenant.FormatBytes(limit))
	case limit > 0 && s.bytes >= limit/100*nearlyFull:
		return fmt.Sprintf("its data is %s of the %s that it may be", tenant.FormatBytes(s.bytes), tenant.FormatBytes(limit))
	}
	return ""
}

func (m *Manager) storageLimitLocked(inst *instance) int64 {
	return m.limitsLocked(inst).Get(tenant.LimitStorage)
}

// watchStorage looks at the data of awake instances from time to time, one after the
// other.
func (m *Manager) watchStorage() {
	for rest(m.ctx, storageInterval*3/4+rand.N(storageInterval/2)) {
		for _, inst := range m.all() {
			inst.mu.Lock()
			s := inst.storage.get()
			due := !inst.removed && (inst.state == tenant.Awake || s.unseen) && !time.Now().Before(s.next) &&
				(m.uses != nil && time.Since(s.at) > lookForUse || m.storageLimitLocked(inst) > 0)
			inst.mu.Unlock()
			if !due {
				continue
			}
			ctx, cancel := context.WithTimeout(m.ctx, storageTimeout)
			_, _, err := m.measure(ctx, inst)
			cancel()
			if m.ctx.Err() != nil {
				return
			}
			if err != nil {
				m.log.Error("storage not measured", "instance", inst.id, "err", err)
			}
		}
	}
}

// measure looks at an instance's data. One that runs and is over its limit is stopped.
func (m *Manager) measure(ctx context.Context, inst *instance) (bytes int64, enforced bool, err error) {
	begun := time.Now()
	bytes, enforced, err = m.controller.Measure(ctx, inst.id)
	fault := ""
	if tenant.CodeOf(err) == tenant.CodeLimit {
		fault = reasonOf(err)
	} else if err != nil {
		return 0, enforced, err
	}
	inst.mu.Lock()
	s := inst.storage.own()
	changed := s.bytes != bytes
	now := time.Now()
	s.bytes, s.fault, s.enforced, s.at = bytes, fault, enforced, now
	s.next = now.Add(min(max(restShare*now.Sub(begun), remeasure), maxRemeasure))
	s.unseen = inst.state == tenant.Waking
	s.refused = s.refused && !believedRunning(inst)
	limit := m.storageLimitLocked(inst)
	full := limit > 0 && bytes >= limit/100*nearlyFull
	switch {
	case s.over(limit) && inst.op == nil && believedRunning(inst):
		m.beginStopLocked(inst, s.reason(limit))
	case full && !s.warned:
		m.log.Warn("storage nearly full", "instance", inst.id, "bytes", bytes, "limit", limit)
		m.tell(event.StorageFull, inst.id, slog.Int64("bytes", bytes), slog.Int64("limit", limit))
	}
	s.warned = full || s.warned && bytes >= limit/100*clearAgain
	inst.mu.Unlock()
	if changed {
		if err := m.store.SetStorage(ctx, inst.id, bytes); err != nil && tenant.CodeOf(err) != tenant.CodeNotFound {
			return bytes, enforced, err
		}
	}
	return bytes, enforced, nil
}

// admitStorage refuses to start an instance whose data exceeds its limit. Whether it
// still does is looked at again, since it may have been told to delete some.
func (m *Manager) admitStorage(inst *instance) error {
	refusal := func() error {
		s, limit := inst.storage.get(), m.storageLimitLocked(inst)
		if !s.over(limit) {
			return nil
		}
		enough := 2 * limit
		for enough/10*9 <= s.bytes { // with room for what rounds it
			enough *= 2
		}
		return &tenant.Error{
			Code: tenant.CodeUnavailable, Op: "wake", ID: inst.id, Err: errOverQuota,
			Msg:        fmt.Sprintf("%s is stopped: %s", inst.id, s.reason(limit)),
			Hint:       fmt.Sprintf("delete some of it, or raise the limit: `ten limit %s --storage %s`", inst.id, tenant.FormatBytes(enough)),
			RetryAfter: max(time.Until(s.next), remeasure),
		}
	}
	inst.mu.Lock()
	err := refusal()
	fresh := time.Now().Before(inst.storage.get().next)
	inst.mu.Unlock()
	if err == nil || fresh {
		return err
	}
	ctx, cancel := context.WithTimeout(m.ctx, lookPatience)
	defer cancel()
	_, _, merr := m.measure(ctx, inst)
	inst.mu.Lock()
	defer inst.mu.Unlock()
	if merr != nil {
		// watchStorage has the time that this has not.
		s := inst.storage.own()
		s.unseen, s.next = true, time.Now().Add(remeasure)
		m.log.Warn("storage not measured", "instance", inst.id, "err", merr)
	}
	return refusal()
}

// addStorage tells of an instance's storage, and of trouble with it where there is no
// other.
func (m *Manager) addStorage(inst *instance, s *tenant.Snapshot) {
	inst.mu.Lock()
	defer inst.mu.Unlock()
	s.StorageLimit = m.storageLimitLocked(inst)
	known := inst.storage.get()
	if !known.at.IsZero() || known.bytes > 0 {
		s.Storage = known.bytes
	}
	asleepOver := s.State == tenant.Asleep && known.over(s.StorageLimit)
	if s.Reason == "" && (asleepOver || s.State == tenant.Awake || s.State == tenant.Dozing) {
		s.Reason = known.reason(s.StorageLimit)
	}
}
