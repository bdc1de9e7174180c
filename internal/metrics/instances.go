package metrics

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tenement.dev/internal/cgroup"
	"tenement.dev/internal/tenant"
)

// readers is how many read what instances use at a time. The files are made when they
// are read, which takes the kernel some ten microseconds each.
const readers = 4

// states are all there are, so that a count that falls to 0 is seen to.
var states = []tenant.State{tenant.Asleep, tenant.Waking, tenant.Awake, tenant.Dozing, tenant.Stopping, tenant.Failed}

// series is one kind of metric, made at each scrape.
type series struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) series {
	return series{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue}
}

func total(name, help string, labels ...string) series {
	return series{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue}
}

// own makes a series for each instance. Its name is not called "instance": Prometheus has that for
// what it scrapes, and would rename ours to exported_instance.
func own(kind func(name, help string, labels ...string) series, name, help string) series {
	return kind("tenement_instance_"+name, help, "service", "tenant")
}

// What there is at each scrape.
var (
	instancesSeries = gauge("tenement_instances", "Registered instances by state.", "service", "state")
	inFlightSeries  = gauge("tenement_requests_in_flight", "Requests that wait or are being answered, streams included.", "service")
	waitingSeries   = gauge("tenement_requests_waiting", "Requests that wait for instances to wake.")
	queuedSeries    = gauge("tenement_starts_queued", "Starts that wait for their turn.")
	startingSeries  = gauge("tenement_starts_in_progress", "Starts that are under way.")
	unlistedSeries  = gauge("tenement_instances_unlisted", "Instances without series of their own, since there are more than metrics_max_instances.")

	stateSeries    = gauge("tenement_instance_state", "Always 1; the label says in which state the instance is.", "service", "tenant", "state")
	requestsSeries = own(total, "requests_total", "Requests that its app got since the daemon started.")
	receivedSeries = own(total, "received_bytes_total", "Bytes of requests' bodies and upgraded connections, from clients.")
	sentSeries     = own(total, "sent_bytes_total", "Bytes of answers' bodies and upgraded connections, to clients.")
	ownFlight      = own(gauge, "requests_in_flight", "Requests that wait or are being answered, streams included.")
	healthSeries   = own(gauge, "healthy", "1 while the instance is awake and its latest health check did not fail, 0 if it did.")
	restartsSeries = own(total, "restarts_total", "Times that it was started again after it had ended or was unhealthy, since it was registered.")
	wakesSeries    = own(total, "wakes_total", "Starts from sleep since it was registered.")
	thawsSeries    = own(total, "thaws_total", "Wakes from doze since it was registered.")
	storageSeries  = own(gauge, "storage_bytes", "Bytes in its data directory when that was last looked at.")
	storageLimit   = own(gauge, "storage_limit_bytes", "Bytes that its data directory may hold.")

	cpuSeries     = own(total, "cpu_seconds_total", "CPU time of all cores since its start.")
	memorySeries  = own(gauge, "memory_bytes", "Memory in use.")
	memoryLimit   = own(gauge, "memory_limit_bytes", "Memory that it may use.")
	swapSeries    = own(gauge, "swap_bytes", "Swap in use.")
	tasksSeries   = own(gauge, "tasks", "Threads.")
	readSeries    = own(total, "io_read_bytes_total", "Bytes from disks since its start.")
	writtenSeries = own(total, "io_written_bytes_total", "Bytes to disks since its start.")

	allSeries = []series{
		instancesSeries, inFlightSeries, waitingSeries, queuedSeries, startingSeries, unlistedSeries,
		stateSeries, requestsSeries, receivedSeries, sentSeries, ownFlight, healthSeries, restartsSeries, wakesSeries, thawsSeries,
		storageSeries, storageLimit, cpuSeries, memorySeries, memoryLimit, swapSeries, tasksSeries, readSeries, writtenSeries,
	}
)

// instances tells of the present moment; it is a prometheus.Collector.
type instances struct {
	source Source
	use    func(tenant.ID) (cgroup.Use, error)
	limit  atomic.Int64
}

func newInstances(o Options) *instances {
	c := &instances{source: o.Source, use: o.Use}
	c.limit.Store(int64(o.Instances))
	return c
}

// Describe implements prometheus.Collector.
func (c *instances) Describe(ch chan<- *prometheus.Desc) {
	for _, s := range allSeries {
		ch <- s.desc
	}
}

// Collect implements prometheus.Collector.
func (c *instances) Collect(ch chan<- prometheus.Metric) {
	send := func(s series, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(s.desc, s.kind, value, labels...)
	}
	waiting, queued, starting := c.source.Crowd()
	send(waitingSeries, float64(waiting))
	send(queuedSeries, float64(queued))
	send(startingSeries, float64(starting))

	type sum struct {
		states   map[tenant.State]int
		inFlight int
	}
	services := map[string]*sum{}
	limit := int(c.limit.Load())
	chosen, all := choice{limit: limit}, 0
	for id, g := range c.source.Glance() {
		all++
		s := services[id.Service]
		if s == nil {
			s = &sum{states: map[tenant.State]int{}}
			services[id.Service] = s
		}
		s.states[g.State]++
		s.inFlight += g.InFlight
		chosen.offer(candidate{id, g.State.Runs(), g.LastActive})
	}
	for name, s := range services {
		for _, state := range states {
			send(instancesSeries, float64(s.states[state]), name, state.String())
		}
		send(inFlightSeries, float64(s.inFlight), name)
	}

	if limit == 0 {
		return
	}
	var list []tenant.Snapshot
	for _, one := range chosen.best() {
		if s, err := c.source.Get(one.id); err == nil { // one that has gone meanwhile has none
			list = append(list, s)
		}
	}
	send(unlistedSeries, float64(all-len(list)))
	for _, s := range list {
		c.one(send, s)
	}
	c.uses(send, list)
}

// candidate is an instance that may have series of its own.
type candidate struct {
	id         tenant.ID
	runs       bool
	lastActive time.Time
}

// choice finds those that have series of their own: those that run before the others, and
// those before that were active most recently. It keeps few of many.
type choice struct {
	limit int
	list  []candidate
}

func (c *choice) offer(one candidate) {
	c.list = append(c.list, one)
	if len(c.list) >= 2*c.limit {
		c.list = c.best()
	}
}

// best are the best so far; among equals, those that were offered first.
func (c *choice) best() []candidate {
	slices.SortStableFunc(c.list, func(a, b candidate) int {
		if a.runs != b.runs {
			if a.runs {
				return -1
			}
			return 1
		}
		return b.lastActive.Compare(a.lastActive)
	})
	return c.list[:min(c.limit, len(c.list))]
}

// one tells what is known of an instance without looking.
func (c *instances) one(send func(series, float64, ...string), s tenant.Snapshot) {
	service, name := s.ID.Service, s.ID.Name
	send(stateSeries, 1, service, name, s.State.String())
	send(requestsSeries, float64(s.Traffic.Requests), service, name)
	send(receivedSeries, float64(s.Traffic.Received), service, name)
	send(sentSeries, float64(s.Traffic.Sent), service, name)
	send(ownFlight, float64(s.InFlight), service, name)
	send(restartsSeries, float64(s.Restarts), service, name)
	send(wakesSeries, float64(s.Wakes), service, name)
	send(thawsSeries, float64(s.Thaws), service, name)
	if s.State == tenant.Awake {
		healthy := 0.0
		if s.Health == tenant.Healthy {
			healthy = 1
		}
		send(healthSeries, healthy, service, name)
	}
	if s.Storage > 0 {
		send(storageSeries, float64(s.Storage), service, name)
	}
	if s.StorageLimit > 0 {
		send(storageLimit, float64(s.StorageLimit), service, name)
	}
}

// uses tells what those use that run; one that has ended meanwhile uses nothing.
func (c *instances) uses(send func(series, float64, ...string), list []tenant.Snapshot) {
	if c.use == nil {
		return
	}
	work := make(chan tenant.ID)
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			for id := range work {
				if u, err := c.use(id); err == nil {
					sendUse(send, id, u)
				}
			}
		})
	}
	for _, s := range list {
		if s.State.Runs() {
			work <- s.ID
		}
	}
	close(work)
	wg.Wait()
}

func sendUse(send func(series, float64, ...string), id tenant.ID, u cgroup.Use) {
	send(cpuSeries, u.CPU.Seconds(), id.Service, id.Name)
	for _, v := range []struct {
		series series
		value  int64
	}{
		{memorySeries, u.Memory}, {memoryLimit, u.MemoryLimit}, {swapSeries, u.Swap}, {tasksSeries, u.Tasks},
		{readSeries, u.Read}, {writtenSeries, u.Written},
	} {
		if v.value >= 0 {
			send(v.series, float64(v.value), id.Service, id.Name)
		}
	}
}
