package metrics

import (
	"iter"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tenement.dev/internal/cgroup"
	"tenement.dev/internal/tenant"
)

// Source tells of the present moment.
type Source interface {
	// Glance tells little of every instance, of which there may be very many, sorted by ID.
	Glance() iter.Seq2[tenant.ID, tenant.Glance]
	// Get tells more of one, and is an error where there is none.
	Get(id tenant.ID) (tenant.Snapshot, error)
	// Crowd counts the requests that wait for instances to wake, the starts that wait for
	// their turn and those that are under way.
	Crowd() (waiting, queued, starting int)
}

// Options is what Metrics needs.
type Options struct {
	Version string
	// Source may be set later, by SetSource.
	Source Source
	// Use tells what a running instance uses; nil where nobody can.
	Use func(tenant.ID) (cgroup.Use, error)
	// Instances is how many instances have series of their own, 0 for none.
	Instances int
}

// Metrics has all that is counted. It implements the Observers of the proxy and of the
// life of instances.
type Metrics struct {
	registry *prometheus.Registry

	// services has what is counted of each service that is or was configured. The map
	// is not changed once it is here; mu is held to make the next one.
	services atomic.Pointer[map[string]*service]
	mu       sync.Mutex
	others   *service

	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	wake      *prometheus.HistogramVec
	phase     *prometheus.HistogramVec
	failed    *prometheus.CounterVec
	unwoken   *prometheus.CounterVec
	happened  [tenant.NumHappenings]*prometheus.CounterVec
	instances *instances
}

// wakeBuckets reach from a thaw to a slow start, in seconds, requestBuckets from a file
// out of memory to a long poll.
var (
	wakeBuckets    = []float64{.001, .0025, .005, .01, .025, .05, .075, .1, .15, .25, .5, 1, 2.5, 5, 10, 30, 60}
	requestBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
)

// New makes a Metrics.
func New(o Options) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(v)
		return v
	}
	m.requests = counter("tenement_requests_total",
		"Requests by service and class of the answer's status; none where the client left before. No service: the host name led to none.", "service", "code")
	m.duration = histogram("tenement_request_duration_seconds",
		"Time of requests that an app answered: held until the instance took it, app until the head of its answer, total to the last byte (not for streams).", requestBuckets, "service", "phase")
	m.wake = histogram("tenement_wake_duration_seconds", "Time from the request for a wake until the app could be given a connection.", wakeBuckets, "service", "kind")
	m.phase = histogram("tenement_wake_phase_duration_seconds", "Time of each phase of wakes.", wakeBuckets, "kind", "phase")
	m.failed = counter("tenement_wake_failures_total", "Wakes that failed or did not begin, by the kind of failure.", "service", "code")
	m.unwoken = counter("tenement_requests_not_woken_total", "Requests that were answered without waking their instance (no_wake), by their kind.", "service", "kind")
	m.happened = [...]*prometheus.CounterVec{
		tenant.Dozed:        counter("tenement_dozes_total", "Times that instances began to doze.", "service"),
		tenant.Slept:        counter("tenement_stops_total", "Times that instances were stopped, to sleep or to be started again.", "service"),
		tenant.HealthFailed: counter("tenement_health_check_failures_total", "Health checks of awake instances that failed.", "service"),
		tenant.StartedAgain: counter("tenement_restarts_total", "Times that instances were started again after they had ended or were unhealthy.", "service"),
	}
	m.others = m.newService("")
	m.services.Store(&map[string]*service{})
	m.instances = newInstances(o)
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tenement_build_info", Help: "Always 1; the labels say what runs."}, []string{"version", "goversion"})
	build.WithLabelValues(o.Version, runtime.Version()).Set(1)
	m.registry.MustRegister(m.instances, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// SetSource says who tells of the present moment. It must be called before Handler's
// handler is used.
func (m *Metrics) SetSource(s Source) { m.instances.source = s }

// SetStreams says who tells how many streams the API has open. It must be called once at
// most.
func (m *Metrics) SetStreams(open func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "tenement_api_streams", Help: "Streams of the API that are open: logs, events and rollouts."},
		func() float64 { return float64(open()) }))
}

// SetServices says which services are configured; those that were before stay.
func (m *Metrics) SetServices(names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := map[string]*service{}
	for name, s := range *m.services.Load() {
		next[name] = s
	}
	for _, name := range names {
		if next[name] == nil {
			next[name] = m.newService(name)
		}
	}
	m.services.Store(&next)
}

// SetInstances changes how many instances have series of their own.
func (m *Metrics) SetInstances(n int) { m.instances.limit.Store(int64(n)) }

// scrapes bounds those that are made at a time: each looks at all instances.
const scrapes = 2

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapes, Timeout: 20 * time.Second})
}
