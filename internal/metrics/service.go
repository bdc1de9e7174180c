package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tenement.dev/internal/tenant"
)

// codes are the classes of status, as the label has them; the first is no answer at all.
var codes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// service is what is counted of one service. Its counters are looked up once.
type service struct {
	name             string
	requests         [len(codes)]prometheus.Counter
	held, app, total prometheus.Observer
	happened         [tenant.NumHappenings]prometheus.Counter
}

func (m *Metrics) newService(name string) *service {
	s := &service{name: name}
	for i, code := range codes {
		s.requests[i] = m.requests.WithLabelValues(name, code)
	}
	if name == "" { // nothing else happens there
		return s
	}
	s.held = m.duration.WithLabelValues(name, "held")
	s.app = m.duration.WithLabelValues(name, "app")
	s.total = m.duration.WithLabelValues(name, "total")
	for i, v := range m.happened {
		s.happened[i] = v.WithLabelValues(name)
	}
	for _, kind := range []tenant.WakeKind{tenant.WakeCold, tenant.WakeDoze} {
		m.wake.WithLabelValues(name, string(kind))
	}
	return s
}

// service gives what is counted of a service; one that is not known is no service.
func (m *Metrics) service(name string) *service {
	if s, ok := (*m.services.Load())[name]; ok {
		return s
	}
	return m.others
}

// Request counts a request that is over.
func (m *Metrics) Request(name string, r tenant.Served) {
	s := m.service(name)
	class := r.Status / 100
	if class < 0 || class >= len(codes) { // an app may send any three digits
		class = len(codes) - 1
	}
	s.requests[class].Inc()
	if r.App == 0 || s == m.others {
		return
	}
	s.held.Observe(r.Held.Seconds())
	s.app.Observe(r.App.Seconds())
	if r.Total > 0 {
		s.total.Observe(r.Total.Seconds())
	}
}

// Woke counts a wake.
func (m *Metrics) Woke(id tenant.ID, w *tenant.Wake) {
	kind := string(w.Kind)
	if s := m.service(id.Service); s != m.others {
		m.wake.WithLabelValues(s.name, kind).Observe(w.Total.Seconds())
	}
	for name, d := range map[string]time.Duration{
		"queue": w.Queue, "load": w.Load, "unit_start": w.UnitStart, "app_ready": w.AppReady, "health": w.Health,
	} {
		m.phase.WithLabelValues(kind, name).Observe(d.Seconds())
	}
}

// WakeFailed counts a wake that failed.
func (m *Metrics) WakeFailed(id tenant.ID, code tenant.Code) {
	if s := m.service(id.Service); s != m.others {
		m.failed.WithLabelValues(s.name, string(code)).Inc()
	}
}

// Unwoken counts a request that was answered without its instance.
func (m *Metrics) Unwoken(id tenant.ID, kind tenant.Kinds) {
	if s := m.service(id.Service); s != m.others {
		m.unwoken.WithLabelValues(s.name, kind.First().String()).Inc()
	}
}

// Happened counts what has happened to an instance.
func (m *Metrics) Happened(id tenant.ID, what tenant.Happening) {
	if s := m.service(id.Service); s != m.others && int(what) < len(s.happened) {
		s.happened[what].Inc()
	}
}
