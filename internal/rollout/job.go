package rollout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

// maxEvents is how many events of a rollout are kept.
const maxEvents = 5000

// job is one rollout.
type job struct {
	engine                     *Engine
	service, release, previous string
	plan                       tenant.RolloutPlan
	// resumed: an earlier daemon has begun it.
	resumed bool
	// rounds counts the attempts to go back; only run has it.
	rounds int
	// over is closed when it runs no more.
	over chan struct{}
	// poke has run look again.
	poke chan struct{}

	// changing is held while row is changed, over the registry's write.
	changing sync.Mutex

	// mu guards what follows.
	mu       sync.Mutex
	row      registry.Rollout
	aborting bool
	refused  string // why an instance on trial was not started with the release
	events   []tenant.RolloutEvent
	dropped  int           // events that are not kept any more
	news     chan struct{} // closed when there is something new
}

func newJob(e *Engine, row registry.Rollout) *job {
	return &job{
		engine: e, service: row.Service, release: row.Release, previous: row.Previous, plan: row.Plan, row: row,
		over: make(chan struct{}), poke: make(chan struct{}, 1), news: make(chan struct{}),
	}
}

// status is what is stored of it.
func (j *job) status() registry.Rollout {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.row
}

// tellAll tells of it and its instances.
func (j *job) tellAll() tenant.Rollout {
	row := j.status()
	r := tenant.Rollout{
		Service: row.Service, Release: row.Release, Previous: row.Previous, Plan: row.Plan, State: row.State,
		Reason: row.Reason, Begun: row.Begun, Ended: row.Ended,
	}
	for _, inst := range j.engine.fleet.Releases(row.Service) {
		r.Instances++
		switch {
		case inst.Step == tenant.StepChanging:
			r.Pending++
		case !lacks(inst, row.Release):
			r.Changed++
		}
	}
	return r
}

// change changes the row, in the registry first.
func (j *job) change(ctx context.Context, f func(*registry.Rollout) error) error {
	j.changing.Lock()
	defer j.changing.Unlock()
	row := j.status()
	if err := f(&row); err != nil {
		return err
	}
	if err := j.engine.store.SaveRollout(ctx, row); err != nil {
		return fmt.Errorf("save rollout of %s: %w", row.Service, err)
	}
	j.mu.Lock()
	told := j.row.State != row.State
	j.row = row
	j.newsLocked()
	j.mu.Unlock()
	if told {
		text := "the rollout is " + strings.ReplaceAll(string(row.State), "-", " ")
		if row.Reason != "" {
			text += ": " + row.Reason
		}
		j.tell("%s", text)
	}
	j.wake()
	return nil
}

// wake has run look again.
func (j *job) wake() {
	select {
	case j.poke <- struct{}{}:
	default:
	}
}

// refuse notes why the release is bad; the first reason stays.
func (j *job) refuse(reason string) {
	j.mu.Lock()
	if j.refused == "" {
		j.refused = reason
	}
	j.mu.Unlock()
	j.wake()
}

// abort has run end it, if its state is one that can be: running or paused. It gives the
// state.
func (j *job) abort() tenant.RolloutState {
	j.changing.Lock()
	defer j.changing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.row.State == tenant.RolloutRunning || j.row.State == tenant.RolloutPaused {
		j.aborting = true
		j.wake()
	}
	return j.row.State
}

func (j *job) aborts() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.aborting
}

// tell notes an event.
func (j *job) tell(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	j.engine.events.Publish(event.Event{Kind: event.Rollout, Fields: []slog.Attr{
		slog.String("service", j.service), slog.String("release", j.release), slog.String("text", text),
	}})
	j.engine.log.Info("rollout", "service", j.service, "release", j.release, "event", text)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, tenant.RolloutEvent{At: time.Now(), Text: text})
	if over := len(j.events) - maxEvents; over > 0 {
		j.events = append([]tenant.RolloutEvent(nil), j.events[over:]...)
		j.dropped += over
	}
	j.newsLocked()
}

func (j *job) newsLocked() {
	close(j.news)
	j.news = make(chan struct{})
}

func (j *job) follow(ctx context.Context, from int) ([]tenant.RolloutEvent, int, tenant.Rollout, error) {
	for {
		over := false
		select {
		case <-j.over:
			over = true // before the events are looked at: none comes after it
		default:
		}
		j.mu.Lock()
		news := j.news
		if from > j.dropped+len(j.events) {
			from = 0 // that was an earlier daemon's
		}
		at := max(from-j.dropped, 0)
		var list []tenant.RolloutEvent
		if at < len(j.events) {
			list = append(list, j.events[at:]...)
		}
		next := j.dropped + len(j.events)
		j.mu.Unlock()
		if len(list) > 0 || over {
			return list, next, j.tellAll(), nil
		}
		select {
		case <-news:
		case <-j.over:
		case <-ctx.Done():
			return nil, next, tenant.Rollout{}, context.Cause(ctx)
		}
	}
}

// words is the part of an error that people may see.
func words(err error) string {
	var e *tenant.Error
	if errors.As(err, &e) {
		return e.Msg
	}
	return "the daemon could not do that; its log says why"
}
