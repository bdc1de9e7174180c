package rollout

import (
	"fmt"
	"sync"
	"time"
)

// The rule by which a release answers worse than the one before: of what was answered in
// the last window it has minFailures 5xx answers at least, and their share of its answers is
// more than worseFactor times that of the other releases, and worseMargin above it.
const (
	window      = 10 // minutes
	minFailures = 5
	worseFactor = 2
	worseMargin = 0.02
)

// Meter counts the answers of services by release, those of the last ten minutes. Its zero
// value is ready.
type Meter struct {
	mu       sync.Mutex
	services map[string]map[string]*ring
}

// ring has a place for each minute of the window.
type ring [window]counts

type counts struct {
	minute            int64
	answers, failures int64
}

// Count notes an answer with an HTTP status of a process that was started with a release.
func (m *Meter) Count(service, release string, status int) {
	minute := time.Now().Unix() / 60
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.services == nil {
		m.services = map[string]map[string]*ring{}
	}
	releases := m.services[service]
	if releases == nil {
		releases = map[string]*ring{}
		m.services[service] = releases
	}
	r := releases[release]
	if r == nil {
		for name, old := range releases { // those that nobody runs any more
			if old.sum(minute).answers == 0 {
				delete(releases, name)
			}
		}
		r = &ring{}
		releases[release] = r
	}
	c := &r[minute%window]
	if c.minute != minute {
		*c = counts{minute: minute}
	}
	c.answers++
	if status >= 500 {
		c.failures++
	}
}

func (r *ring) sum(minute int64) (sum counts) {
	for _, c := range r {
		if minute-c.minute < window {
			sum.answers += c.answers
			sum.failures += c.failures
		}
	}
	return sum
}

// forget begins anew with a release.
func (m *Meter) forget(service, release string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.services[service], release)
}

// worse says why a release answers worse than the others of its service, and nothing where
// it does not.
func (m *Meter) worse(service, release string) string {
	minute := time.Now().Unix() / 60
	m.mu.Lock()
	defer m.mu.Unlock()
	var its, others counts
	for name, r := range m.services[service] {
		sum := r.sum(minute)
		if name == release {
			its = sum
			continue
		}
		others.answers += sum.answers
		others.failures += sum.failures
	}
	rate, before := its.rate(), others.rate()
	if its.failures < minFailures || rate <= worseFactor*before || rate <= before+worseMargin {
		return ""
	}
	return fmt.Sprintf("%d of %d answers of %s were 5xx (%.1f %%), and %.1f %% before", its.failures, its.answers, release, 100*rate, 100*before)
}

func (c counts) rate() float64 {
	if c.answers == 0 {
		return 0
	}
	return float64(c.failures) / float64(c.answers)
}
