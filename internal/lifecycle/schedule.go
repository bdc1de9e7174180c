package lifecycle

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"tenement.dev/internal/registry"
)

// Schedules remembers which entries have been seen to, and what is due and not done.
type Schedules interface {
	SetSchedules(ctx context.Context, list []registry.Schedule) ([]registry.Schedule, error)
	Due(ctx context.Context, s registry.Schedule) error
	Runs(ctx context.Context) ([]registry.Run, error)
	Ran(ctx context.Context, run registry.Run) error
}

// Calendar gives the first moment of a calendar entry after a given one, zero where
// there is none.
type Calendar func(ctx context.Context, entry string, after time.Time) (time.Time, error)

const (
	// scheduleWidth is how many instances may be on their way through a run, from its
	// wake to the beginning of the app's answer; who takes longer than scheduleTurn for
	// that lets the next one in. So a thousand instances of a service do not start at
	// once.
	scheduleWidth = 2
	scheduleTurn  = 10 * time.Second
	// scheduleLook is how often the clock is looked at, which may have been set.
	scheduleLook = time.Minute
	// scheduleRetry is the wait after the registry or the calendar has failed, and the
	// shortest one before a run that was refused for now is tried again.
	scheduleRetry = 10 * time.Second
	// scheduleGiveUp is for how long a run that is refused for now is tried again,
	// counted from when it was last due.
	scheduleGiveUp = time.Hour
	// scheduleSetBack is by how much the clock must have been set back for what was known
	// of the time to come to be of no use any more. By less it is set as it goes, and what
	// has just been due shall not be again.
	scheduleSetBack = 10 * time.Minute
)

// scheduler wakes instances at the calendar times of their services.
type scheduler struct {
	m        *Manager
	store    Schedules
	calendar Calendar
	// changed tells that there is another configuration.
	changed chan struct{}

	// entries are for run's goroutine only.
	entries []*scheduled

	// mu guards what follows; the task group's mutex is locked within it, no other.
	mu    sync.Mutex
	queue []registry.Run // in random order
	// queued has the runs that are not done, those in the queue, under way and refused
	// for now, and when each was last due.
	queued map[registry.Run]time.Time
	active int
	// nexts is when each entry comes next.
	nexts map[scheduleKey]time.Time
}

type scheduleKey struct{ service, entry string }

// scheduled is an entry whose time will come.
type scheduled struct {
	registry.Schedule
	// next is its next moment, zero for none; known says that next has been found out, which
	// was at asked.
	next, asked time.Time
	known       bool
}

func newScheduler(m *Manager, store Schedules, calendar Calendar) *scheduler {
	return &scheduler{
		m: m, store: store, calendar: calendar,
		changed: make(chan struct{}, 1),
		queued:  map[registry.Run]time.Time{},
		nexts:   map[scheduleKey]time.Time{},
	}
}

// reload has the configuration looked at again.
func (s *scheduler) reload() {
	select {
	case s.changed <- struct{}{}:
	default: // a look is due already
	}
}

// run works until ctx ends.
func (s *scheduler) run(ctx context.Context) {
	stale, resumed := true, false
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
			stale = true
		case <-timer.C:
		}
		wait := scheduleRetry
		if stale {
			stale = !s.sync(ctx)
		}
		if !stale && !resumed {
			resumed = s.resume(ctx)
		}
		if !stale {
			wait = s.tick(ctx, time.Now())
		}
		timer.Reset(wait)
	}
}

// sync makes the entries those of the configuration. What is new has been seen to up to
// now. It reports success.
func (s *scheduler) sync(ctx context.Context) bool {
	var list []registry.Schedule
	now := time.Now()
	for name, service := range s.m.Config().Services {
		for _, entry := range service.Schedule {
			list = append(list, registry.Schedule{Service: name, Entry: entry, Seen: now})
		}
	}
	list, err := s.store.SetSchedules(ctx, list)
	if err != nil {
		s.complain(ctx, "schedules not remembered", "", err)
		return false
	}
	s.entries = nil
	for _, one := range list {
		s.entries = append(s.entries, &scheduled{Schedule: one})
	}
	s.mu.Lock()
	clear(s.nexts)
	s.mu.Unlock()
	return true
}

// resume goes on with the runs that an earlier daemon has left.
func (s *scheduler) resume(ctx context.Context) bool {
	runs, err := s.store.Runs(ctx)
	if err != nil {
		s.complain(ctx, "runs not resumed", "", err)
		return false
	}
	s.enqueue(runs)
	return true
}

// tick sees to the entries whose time has come, and gives the time until it is needed
// again. However many moments of an entry have passed since it was seen to, that is one
// run.
func (s *scheduler) tick(ctx context.Context, now time.Time) time.Duration {
	now = now.Round(0) // by the clock on the wall
	wait := scheduleLook
	for _, e := range s.entries {
		if !s.look(ctx, e, now) {
			wait = min(wait, scheduleRetry)
			continue
		}
		if due(e.next, now) {
			seen := registry.Schedule{Service: e.Service, Entry: e.Entry, Seen: now}
			if err := s.store.Due(ctx, seen); err != nil {
				s.complain(ctx, "run not remembered", e.Entry, err)
				wait = min(wait, scheduleRetry)
				continue
			}
			s.m.log.Info("schedule is due", "service", e.Service, "entry", e.Entry, "since", e.next)
			e.Schedule, e.known = seen, false
			s.enqueueService(e.Schedule)
			if !s.look(ctx, e, now) {
				wait = min(wait, scheduleRetry)
				continue
			}
		}
		if !e.next.IsZero() {
			wait = min(wait, max(e.next.Sub(now), 0))
		}
	}
	return wait
}

// look finds out when an entry comes next, if that is not known.
func (s *scheduler) look(ctx context.Context, e *scheduled, now time.Time) bool {
	if e.known && e.asked.Sub(now) < scheduleSetBack {
		return true
	}
	after := e.Seen
	if after.Sub(now) >= scheduleSetBack {
		after = now
	}
	next, err := s.calendar(ctx, e.Entry, after)
	if err != nil {
		s.complain(ctx, "schedule not understood", e.Entry, err)
		return false
	}
	e.next, e.asked, e.known = next, now, true
	s.mu.Lock()
	s.nexts[scheduleKey{e.Service, e.Entry}] = next
	s.mu.Unlock()
	return true
}

func (s *scheduler) complain(ctx context.Context, what, entry string, err error) {
	if ctx.Err() == nil {
		s.m.log.Error(what, "entry", entry, "err", err)
	}
}

// enqueueService enqueues a run of each instance of a service.
func (s *scheduler) enqueueService(e registry.Schedule) {
	var runs []registry.Run
	for _, inst := range s.m.all() {
		if inst.id.Service == e.Service {
			runs = append(runs, registry.Run{ID: inst.id, Entry: e.Entry})
		}
	}
	s.enqueue(runs)
}

// enqueue adds runs, but for those that wait already.
func (s *scheduler) enqueue(runs []registry.Run) {
	rand.Shuffle(len(runs), func(i, j int) { runs[i], runs[j] = runs[j], runs[i] })
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, run := range runs {
		if _, waits := s.queued[run]; !waits {
			s.queue = append(s.queue, run)
		}
		s.queued[run] = now
	}
	s.pumpLocked()
}

// pumpLocked starts as many runs as there are places.
func (s *scheduler) pumpLocked() {
	for s.active < scheduleWidth && len(s.queue) > 0 && s.m.ctx.Err() == nil {
		run := s.queue[0]
		s.queue = s.queue[1:]
		s.active++
		s.m.tasks.do(func() {
			if wait := s.take(run); wait > 0 {
				s.retry(run, wait)
			}
		})
	}
}

// take makes a run in the place that it has. It gives the time after which the run is to
// be tried again, 0 for never.
func (s *scheduler) take(run registry.Run) (wait time.Duration) {
	leave := sync.OnceFunc(s.leave)
	defer leave()
	turn := time.AfterFunc(scheduleTurn, leave)
	defer turn.Stop()
	return s.m.runScheduled(run, s, leave)
}

// mayRetry reports whether a run that was refused may still be tried again after wait.
func (s *scheduler) mayRetry(run registry.Run, wait time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.queued[run])+wait < scheduleGiveUp
}

// retry enqueues a run once more, after wait. The registry has it still, should the
// daemon end before.
func (s *scheduler) retry(run registry.Run, wait time.Duration) {
	if !rest(s.m.ctx, wait) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, run)
	s.pumpLocked()
}

// leave gives up a place.
func (s *scheduler) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	s.pumpLocked()
}

// ran notes that a run has been begun, which is when it is done as far as this goes.
func (s *scheduler) ran(run registry.Run) {
	s.mu.Lock()
	delete(s.queued, run)
	s.mu.Unlock()
	if err := s.store.Ran(s.m.ctx, run); err != nil {
		s.complain(s.m.ctx, "run not noted", run.Entry, err)
	}
}

// next gives the next moment at which an instance of service is woken, and the entry
// that does it.
func (s *scheduler) next(service string) (at time.Time, entry string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, t := range s.nexts {
		if key.service == service && !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at, entry = t, key.entry
		}
	}
	return at, entry
}
