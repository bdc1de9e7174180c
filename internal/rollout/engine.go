package rollout

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

// Fleet is the instances; *lifecycle.Manager has it, and explains it.
type Fleet interface {
	Releases(service string) []tenant.Released
	SetReleases(ctx context.Context, list []registry.Release) error
	Renew(ctx context.Context, id tenant.ID, wake bool) (started bool, err error)
	Get(id tenant.ID) (tenant.Snapshot, error)
	Services
}

// Services has the release of each service's new instances; *lifecycle.Manager has it.
type Services interface {
	ServiceRelease(service string) string
	SetServiceRelease(ctx context.Context, service, release string) error
	// CheckRelease looks whether a service could be run with a release.
	CheckRelease(service, release string) error
}

// Store remembers the latest rollout of each service; *registry.Registry has it.
type Store interface {
	Rollouts(ctx context.Context) ([]registry.Rollout, error)
	SaveRollout(ctx context.Context, r registry.Rollout) error
}

// Options is what an Engine needs.
type Options struct {
	Fleet Fleet
	Store Store
	// Meter counts what the releases answer.
	Meter *Meter
	// Events is told of each step; it may be nil.
	Events *event.Bus
	Log    *slog.Logger
}

// Engine runs rollouts. Make one with New; it works while Run runs.
type Engine struct {
	fleet  Fleet
	store  Store
	meter  *Meter
	events *event.Bus
	log    *slog.Logger

	ctx   context.Context // Run's, set before ready is closed
	ready chan struct{}

	// beginning is held while a rollout begins, over the registry's write: two that begin
	// at once would both take the service's release for the one before.
	beginning sync.Mutex

	// mu guards what follows.
	mu     sync.Mutex
	jobs   map[string]*job // the latest of each service
	ending bool
	wg     sync.WaitGroup
}

// New makes an Engine that knows no rollout yet.
func New(o Options) *Engine {
	return &Engine{
		fleet: o.Fleet, store: o.Store, meter: o.Meter, events: o.Events, log: o.Log,
		ready: make(chan struct{}), jobs: map[string]*job{},
	}
}

// Run goes on with the rollouts that an earlier daemon has left, and works until ctx ends.
// The Fleet must know its instances already.
func (e *Engine) Run(ctx context.Context) error {
	rows, err := e.store.Rollouts(ctx)
	if err != nil {
		return fmt.Errorf("read rollouts: %w", err)
	}
	e.ctx = ctx
	for _, row := range rows {
		j := newJob(e, row)
		if row.State.Active() {
			j.resumed = true
			j.tell("the daemon has started again, and the rollout goes on")
		}
		e.start(j)
	}
	close(e.ready)
	<-ctx.Done()
	e.mu.Lock()
	e.ending = true
	e.mu.Unlock()
	e.wg.Wait()
	return nil
}

// start makes j its service's rollout and has it run, if it is to.
func (e *Engine) start(j *job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.jobs[j.service] = j
	if !e.ending && j.status().State.Active() {
		e.wg.Go(func() {
			defer close(j.over)
			j.run(e.ctx)
		})
	} else {
		close(j.over) // where the daemon ends, the next one goes on with it
	}
}

func (e *Engine) awaitReady(ctx context.Context) error {
	select {
	case <-e.ready:
		return nil
	case <-ctx.Done():
		return &tenant.Error{Code: tenant.CodeUnavailable, Op: "roll out", Msg: "the daemon is still starting", Err: context.Cause(ctx)}
	}
}

// job gives the latest rollout of a service.
func (e *Engine) job(ctx context.Context, service string) (*job, error) {
	if err := tenant.CheckLabel("service", service); err != nil {
		return nil, err
	}
	if err := e.awaitReady(ctx); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if j := e.jobs[service]; j != nil {
		return j, nil
	}
	return nil, &tenant.Error{
		Code: tenant.CodeNotFound, Op: "roll out",
		Msg:  fmt.Sprintf("there has been no rollout of %s", service),
		Hint: fmt.Sprintf("`ten rollout %s --release NAME` begins one", service),
	}
}

// The bounds of plans, and the default.
const (
	defaultBatch = 5
	maxBatch     = 1000
	maxPause     = 24 * time.Hour
)

// Begin begins to give the instances of a service a release. A batch of 0 is
// five instances. Errors are *tenant.Error.
func (e *Engine) Begin(ctx context.Context, service, release string, plan tenant.RolloutPlan) (tenant.Rollout, error) {
	if err := tenant.CheckLabel("service", service); err != nil {
		return tenant.Rollout{}, err
	}
	if err := tenant.CheckRelease(release); err != nil {
		return tenant.Rollout{}, err
	}
	if err := e.awaitReady(ctx); err != nil {
		return tenant.Rollout{}, err
	}
	if err := e.fleet.CheckRelease(service, release); err != nil {
		return tenant.Rollout{}, err
	}
	if err := e.checkPlan(service, &plan); err != nil {
		return tenant.Rollout{}, err
	}
	e.beginning.Lock()
	defer e.beginning.Unlock()
	e.mu.Lock()
	old := e.jobs[service]
	e.mu.Unlock()
	if old != nil && old.status().State.Active() {
		return tenant.Rollout{}, conflict(service, "a rollout of %s goes on already", "`ten rollout status %s` tells of it; abort it first, or wait")
	}
	previous := e.fleet.ServiceRelease(service)
	if previous == release && !slices.ContainsFunc(e.fleet.Releases(service), func(r tenant.Released) bool { return lacks(r, release) }) {
		return tenant.Rollout{}, conflict(service, "all instances of %s have release "+release+" already", "`ten ps %s` shows them")
	}
	row := registry.Rollout{
		Service: service, Release: release, Previous: previous, Plan: plan, State: tenant.RolloutRunning, Begun: time.Now(),
	}
	if err := e.store.SaveRollout(context.WithoutCancel(ctx), row); err != nil {
		return tenant.Rollout{}, fmt.Errorf("begin rollout of %s: %w", service, err)
	}
	e.meter.forget(service, release)
	j := newJob(e, row)
	e.start(j)
	return j.tellAll(), nil
}

func (e *Engine) checkPlan(service string, plan *tenant.RolloutPlan) error {
	if plan.Batch == 0 {
		plan.Batch = defaultBatch
	}
	bad := func(msg, hint string) error {
		return &tenant.Error{Code: tenant.CodeInvalid, Op: "roll out", Msg: msg, Hint: hint}
	}
	switch {
	case plan.Batch < 0 || plan.Batch > maxBatch:
		return bad(fmt.Sprintf("a batch of %d is not possible", plan.Batch), fmt.Sprintf("use 1 to %d", maxBatch))
	case plan.Pause < 0 || plan.Pause > maxPause:
		return bad(fmt.Sprintf("a pause of %v is not possible", plan.Pause), fmt.Sprintf("use up to %v", maxPause))
	case plan.CanaryPercent < 0 || plan.CanaryPercent > 100:
		return bad(fmt.Sprintf("a canary of %v %% is not possible", plan.CanaryPercent), "use 1% to 100%, or names of instances")
	}
	for _, name := range plan.Canary {
		id, err := tenant.ParseID(service + ":" + name)
		if err != nil {
			return err
		}
		if _, err := e.fleet.Get(id); err != nil {
			return err
		}
	}
	return nil
}

// Status tells of the latest rollout of a service.
func (e *Engine) Status(ctx context.Context, service string) (tenant.Rollout, error) {
	j, err := e.job(ctx, service)
	if err != nil {
		return tenant.Rollout{}, err
	}
	return j.tellAll(), nil
}

// Refused is for the Fleet to tell that an instance on trial did not start with its release.
func (e *Engine) Refused(id tenant.ID, release string, err error) {
	e.mu.Lock()
	j := e.jobs[id.Service]
	e.mu.Unlock()
	if j != nil && j.release == release {
		j.refuse(fmt.Sprintf("%s did not start with it: %s", id, words(err)))
	}
}

// Follow gives the events of a service's latest rollout from the one with number from on,
// and the number of the next. It waits until there is one, or the rollout has ended.
func (e *Engine) Follow(ctx context.Context, service string, from int) (list []tenant.RolloutEvent, next int, r tenant.Rollout, err error) {
	j, err := e.job(ctx, service)
	if err != nil {
		return nil, from, r, err
	}
	return j.follow(ctx, from)
}

func conflict(service, msg, hint string) error {
	return &tenant.Error{
		Code: tenant.CodeConflict, Op: "roll out",
		Msg: fmt.Sprintf(msg, service), Hint: fmt.Sprintf(hint, service),
	}
}
