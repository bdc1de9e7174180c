package dashboard

import (
	"context"
	"sync"
	"time"

	"tenement.dev/internal/tenant"
)

const (
	// sampleEvery is the time between two samples of an instance, keptSamples how many are
	// kept: half an hour.
	sampleEvery = 10 * time.Second
	keptSamples = 180
	// maxSeries bounds how many instances have samples: 40 bytes each, 7 MB in all.
	maxSeries = 1000
)

// sample is what an instance was at a moment. Requests and wakes are counted from the
// daemon's start; memory and CPU time are -1 where they are not known.
type sample struct {
	at, requests, wakes, memory int64
	cpu                         time.Duration
}

// ring has the latest samples of an instance.
type ring struct {
	list []sample // the latest keptSamples, the next one at next
	next int
	last time.Time
}

func (r *ring) add(s sample, now time.Time) {
	r.last = now
	if len(r.list) < keptSamples {
		r.list = append(r.list, s)
		return
	}
	r.list[r.next] = s
	r.next = (r.next + 1) % keptSamples
}

// all gives the samples, the oldest first.
func (r *ring) all() []sample {
	return append(append([]sample(nil), r.list[r.next:]...), r.list[:r.next]...)
}

// samples are those of the instances that run, or ran lately.
type samples struct {
	instances Instances // or nil
	use       func(tenant.ID) (time.Duration, int64, error)

	mu   sync.Mutex // guards byID
	byID map[tenant.ID]*ring
}

func newSamples(instances Instances, use func(tenant.ID) (time.Duration, int64, error)) *samples {
	return &samples{instances: instances, use: use, byID: map[tenant.ID]*ring{}}
}

func (s *samples) run(ctx context.Context) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		s.take(time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// take adds a sample of each instance that runs, and of those that ran lately: their
// charts end at the bottom, not in the middle.
func (s *samples) take(now time.Time) {
	if s.instances == nil {
		return
	}
	const kept = sampleEvery * keptSamples
	for id, g := range s.instances.Glance() {
		runs := g.State.Runs()
		s.mu.Lock()
		r, ok := s.byID[id]
		if ok && !runs && now.Sub(r.last) >= kept {
			delete(s.byID, id)
			ok = false
		}
		s.mu.Unlock()
		if !ok && !runs {
			continue
		}
		one, err := s.instances.Get(id)
		if err != nil {
			continue // it has gone meanwhile
		}
		p := sample{at: now.Unix(), requests: one.Traffic.Requests, wakes: one.Wakes + one.Thaws, memory: -1, cpu: -1}
		if runs && s.use != nil {
			if cpu, memory, err := s.use(id); err == nil {
				p.cpu, p.memory = cpu, memory
			}
		}
		s.mu.Lock()
		if !ok && len(s.byID) < maxSeries {
			r = &ring{}
			s.byID[id] = r
		}
		if r != nil {
			last := r.last
			r.add(p, now)
			if !runs {
				r.last = last // when it last ran
			}
		}
		s.mu.Unlock()
	}
}

// series is what charts show: each list has a value for each of At, in seconds of Unix
// time; nil is not known.
type series struct {
	At       []int64    `json:"at"`
	Requests []*float64 `json:"requests"` // per second
	CPU      []*float64 `json:"cpu"`      // percent of a core
	Memory   []*float64 `json:"memory"`   // MiB
	Wakes    []*float64 `json:"wakes"`    // since the sample before
	Every    int        `json:"every"`    // seconds
}

// of gives the series of an instance.
func (s *samples) of(id tenant.ID) series {
	s.mu.Lock()
	var list []sample
	if r := s.byID[id]; r != nil {
		list = r.all()
	}
	s.mu.Unlock()
	out := series{At: []int64{}, Every: int(sampleEvery / time.Second)}
	for i, one := range list {
		out.At = append(out.At, one.at)
		out.Memory = append(out.Memory, known(float64(one.memory)/(1<<20), one.memory >= 0))
		if i == 0 {
			out.Requests, out.CPU, out.Wakes = append(out.Requests, nil), append(out.CPU, nil), append(out.Wakes, nil)
			continue
		}
		before := list[i-1]
		dt := float64(max(1, one.at-before.at))
		out.Requests = append(out.Requests, known(float64(one.requests-before.requests)/dt, one.requests >= before.requests))
		out.CPU = append(out.CPU, known(100*(one.cpu-before.cpu).Seconds()/dt, before.cpu >= 0 && one.cpu >= before.cpu))
		out.Wakes = append(out.Wakes, known(float64(one.wakes-before.wakes), one.wakes >= before.wakes))
	}
	return out
}

func known(v float64, ok bool) *float64 {
	if !ok {
		return nil
	}
	return &v
}
