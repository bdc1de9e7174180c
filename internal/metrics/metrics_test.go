package metrics

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/cgroup"
	"tenement.dev/internal/tenant"
)

// world is a Source whose instances are all alike.
type world struct{ list []tenant.Snapshot }

func (w world) Glance() iter.Seq2[tenant.ID, tenant.Glance] {
	return func(yield func(tenant.ID, tenant.Glance) bool) {
		for _, s := range w.list {
			if !yield(s.ID, tenant.Glance{State: s.State, InFlight: s.InFlight, LastActive: s.LastActive}) {
				return
			}
		}
	}
}

func (w world) Get(id tenant.ID) (tenant.Snapshot, error) {
	for _, s := range w.list {
		if s.ID == id {
			return s, nil
		}
	}
	return tenant.Snapshot{}, errors.New("gone")
}

func (w world) Crowd() (waiting, queued, starting int) { return 3, 2, 1 }

// snapshots makes instances of a service, of which the last ones are awake.
func snapshots(n, awake int) []tenant.Snapshot {
	list := make([]tenant.Snapshot, n)
	for i := range list {
		list[i] = tenant.Snapshot{
			ID:         tenant.ID{Service: "notes", Name: fmt.Sprintf("i%05d", i)},
			LastActive: time.Unix(int64(i), 0),
			Traffic:    tenant.Traffic{Requests: int64(i), Received: 1, Sent: 2},
		}
		if i >= n-awake {
			list[i].State, list[i].Health = tenant.Awake, tenant.Healthy
		}
	}
	return list
}

func use(id tenant.ID) (cgroup.Use, error) {
	return cgroup.Use{CPU: 1500 * time.Millisecond, Memory: 42, Swap: -1, MemoryLimit: -1, Tasks: 2, Read: 3, Written: 4}, nil
}

func scrape(t testing.TB, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("got status %d, %v: %s", w.Code, err, text)
	}
	return string(text)
}

// wantLines wants each line in the text.
func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}

func TestCounts(t *testing.T) {
	m := New(Options{Version: "v1", Source: world{snapshots(2, 1)}, Use: use, Instances: 10})
	m.SetServices([]string{"notes"})
	alice := tenant.ID{Service: "notes", Name: "alice"}
	m.Request("notes", tenant.Served{Status: 204, Held: time.Millisecond, App: 3 * time.Millisecond, Total: 20 * time.Millisecond})
	m.Request("notes", tenant.Served{Status: 101, Held: time.Millisecond, App: time.Millisecond})
	m.Request("notes", tenant.Served{Status: 999})
	m.Request("notes", tenant.Served{})
	for i := range 1000 { // what people may ask for
		m.Request(fmt.Sprintf("evil%d", i), tenant.Served{Status: 404})
		m.WakeFailed(tenant.ID{Service: fmt.Sprintf("evil%d", i)}, tenant.CodeNotFound)
	}
	m.Woke(alice, &tenant.Wake{Kind: tenant.WakeCold, UnitStart: 30 * time.Millisecond, Total: 80 * time.Millisecond})
	m.Woke(alice, &tenant.Wake{Kind: "armed", Total: time.Millisecond})
	m.WakeFailed(alice, tenant.CodeStartTimeout)
	m.Unwoken(alice, tenant.KindHead|tenant.KindCrawler)
	for what := range tenant.NumHappenings {
		for range what + 1 {
			m.Happened(alice, tenant.Happening(what))
		}
	}
	m.SetStreams(func() int { return 5 })
	text := scrape(t, m)
	wantLines(t, text,
		`tenement_api_streams 5`,
		`tenement_requests_total{code="2xx",service="notes"} 1`,
		`tenement_requests_total{code="1xx",service="notes"} 1`,
		`tenement_requests_total{code="5xx",service="notes"} 1`,
		`tenement_requests_total{code="none",service="notes"} 1`,
		`tenement_requests_total{code="4xx",service=""} 1000`,
		`tenement_request_duration_seconds_count{phase="app",service="notes"} 2`,
		`tenement_request_duration_seconds_count{phase="total",service="notes"} 1`,
		`tenement_request_duration_seconds_bucket{phase="total",service="notes",le="0.01"} 0`,
		`tenement_request_duration_seconds_bucket{phase="total",service="notes",le="0.025"} 1`,
		`tenement_wake_duration_seconds_count{kind="cold",service="notes"} 1`,
		`tenement_wake_duration_seconds_count{kind="armed",service="notes"} 1`,
		`tenement_wake_phase_duration_seconds_sum{kind="cold",phase="unit_start"} 0.03`,
		`tenement_wake_failures_total{code="start_timeout",service="notes"} 1`,
		`tenement_requests_not_woken_total{kind="head",service="notes"} 1`,
		`tenement_dozes_total{service="notes"} 1`,
		`tenement_stops_total{service="notes"} 2`,
		`tenement_health_check_failures_total{service="notes"} 3`,
		`tenement_restarts_total{service="notes"} 4`,
		`tenement_instances{service="notes",state="asleep"} 1`,
		`tenement_instances{service="notes",state="awake"} 1`,
		`tenement_instances{service="notes",state="failed"} 0`,
		`tenement_requests_waiting 3`, `tenement_starts_queued 2`, `tenement_starts_in_progress 1`,
		`tenement_instances_unlisted 0`,
		`tenement_instance_state{service="notes",state="awake",tenant="i00001"} 1`,
		`tenement_instance_requests_total{service="notes",tenant="i00001"} 1`,
		`tenement_instance_cpu_seconds_total{service="notes",tenant="i00001"} 1.5`,
		`tenement_instance_memory_bytes{service="notes",tenant="i00001"} 42`,
		`tenement_instance_io_written_bytes_total{service="notes",tenant="i00001"} 4`,
	)
	for _, not := range []string{"evil", `cpu_seconds_total{service="notes",tenant="i00000"`, "tenement_instance_swap_bytes{"} {
		if strings.Contains(text, not) {
			t.Errorf("got %q in it, want none", not)
		}
	}
}

// TestSeriesAreBounded has more instances than may have series of their own.
func TestSeriesAreBounded(t *testing.T) {
	m := New(Options{Source: world{snapshots(100, 5)}, Use: use, Instances: 7})
	text := scrape(t, m)
	if got, want := strings.Count(text, "\ntenement_instance_state{"), 7; got != want {
		t.Errorf("got %d instances, want %d", got, want)
	}
	wantLines(t, text, `tenement_instances_unlisted 93`,
		`tenement_instance_state{service="notes",state="awake",tenant="i00095"} 1`,
		`tenement_instance_state{service="notes",state="asleep",tenant="i00094"} 1`)
	m.SetInstances(0)
	if text := scrape(t, m); strings.Contains(text, "tenement_instance_") {
		t.Errorf("got series of instances, want none:\n%s", text)
	}
}

// TestServicesStay: what a service did is not forgotten when it goes from the
// configuration.
func TestServicesStay(t *testing.T) {
	m := New(Options{Source: world{}})
	m.SetServices([]string{"notes", "web"})
	m.Request("web", tenant.Served{Status: 200})
	m.SetServices([]string{"notes"})
	wantLines(t, scrape(t, m), `tenement_requests_total{code="2xx",service="web"} 1`)
}

func TestRequestAllocatesNothing(t *testing.T) {
	m := New(Options{Source: world{}})
	m.SetServices([]string{"notes"})
	s := tenant.Served{Status: 200, Held: time.Microsecond, App: time.Millisecond, Total: time.Second}
	if got := testing.AllocsPerRun(100, func() { m.Request("notes", s) }); got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

func BenchmarkRequest(b *testing.B) {
	m := New(Options{Source: world{}})
	m.SetServices([]string{"notes"})
	s := tenant.Served{Status: 200, Held: time.Microsecond, App: time.Millisecond, Total: time.Second}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Request("notes", s)
		}
	})
}

func BenchmarkScrape(b *testing.B) {
	m := New(Options{Source: world{snapshots(1000, 50)}, Use: use, Instances: 1000})
	m.SetServices([]string{"notes"})
	for b.Loop() {
		scrape(b, m)
	}
}
