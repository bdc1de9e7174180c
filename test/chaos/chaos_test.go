package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

const (
	tenants  = 50
	visitors = 24
	portMin  = 31000
	portMax  = 31059 // few: ports that are not given back run out
)

// The timeouts are about as long as the pauses between two requests for a tenant.
const config = `
[settings]
api_listen = "127.0.0.1:9090"
port_range = "31000-31059"
doorbells = 12
armed = 8
max_restarts = 1000000
backoff_base_ms = 1
backoff_max_ms = 1
[service.app]
command = "{bin}/testapp alone"
doze_timeout = "100ms"
idle_timeout = "500ms"
[service.nap]
command = "{bin}/testapp alone"
listen = "unix"
idle_timeout = "150ms"
[service.own]
command = "{bin}/testapp alone"
network = "private"
doze_timeout = "50ms"
idle_timeout = 2
[service.plain]
command = "{bin}/testapp alone"
isolation = "process"
doze_timeout = "200ms"
health = "/health"
`

// world is the test's view of everything.
type world struct {
	s       *harness.Server
	tenants []*tenant
	counts  counts
	token   string // an admin's, for the API
	// kills are those of the daemon, restarts the orderly ones; starts reach until it is
	// up again after either.
	kills, restarts, starts spans

	mu     sync.Mutex
	faults []string
}

// fault notes something that must not be.
func (w *world) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func TestChaos(t *testing.T) {
	duration, seed := settings(t)
	t.Logf("TENEMENT_SEED=%d TENEMENT_CHAOS=%v", seed, duration)
	mountsBefore := mounts(t)
	w := &world{s: harness.Start(t, harness.Options{Config: config, Unit: true, Longest: duration + 5*time.Minute})}
	services := []string{"app", "nap", "own", "plain"}
	var ids []string
	for i := range tenants {
		tenant := newTenant(services[i%len(services)], i)
		w.tenants = append(w.tenants, tenant)
		ids = append(ids, tenant.id())
	}
	if r := w.s.Ten(append([]string{"spawn"}, ids...)...); r.Code != 0 {
		t.Fatalf("spawn: %s", r)
	}

	gen := w.s.Ten("token", "gen")
	if gen.Code != 0 {
		t.Fatalf("token gen: %s", gen)
	}
	w.token = strings.TrimSpace(gen.Stdout)

	random := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	enough := 5 * int64(duration/time.Second)
	all.Go(func() {
		defer cancel()
		w.last(duration, enough)
	})
	for i := range uint64(visitors) {
		all.Go(func() { newVisitor(w, random(i)).run(ctx) })
	}
	all.Go(func() { w.disturb(ctx, random(101), 150*time.Millisecond, w.crash, w.exit, w.killUnit, w.stopUnit) })
	all.Go(func() { w.disturb(ctx, random(102), 200*time.Millisecond, w.stop, w.restart, w.replace, w.pause) })
	all.Go(func() { w.disturb(ctx, random(105), 100*time.Millisecond, w.ask, w.follow) })
	all.Go(func() { w.disturb(ctx, random(103), 4*time.Second, w.killDaemon, w.killDaemon, w.restartDaemon) })
	all.Go(func() { w.disturb(ctx, random(104), 4*time.Second, w.restartBus, w.reloadManager) })
	all.Wait()

	c := &w.counts
	t.Logf("%d answered, %d aborted, %d refused with a reason, %d cut off; the slowest answer took %v; %d answers and %d streams of the API",
		c.good.Load(), c.aborted.Load(), c.refused.Load(), c.cut.Load(), time.Duration(c.slowest.Load()), c.asked.Load(), c.told.Load())
	if c.good.Load() < enough {
		t.Errorf("only %d requests were answered, want %d", c.good.Load(), enough)
	}
	if w.counts.told.Load() == 0 {
		t.Error("no stream of the API told anything")
	}
	w.checkNotes(t)
	w.report(t)
	if r := w.s.Ten(append([]string{"destroy", "--yes"}, ids...)...); r.Code != 0 {
		t.Errorf("destroy: %s", r)
	}
	w.s.HTTP.CloseIdleConnections()
	w.checkNothingLeft(t, mountsBefore)
}

// last waits for the end of the run, and where the machine is busy with others beyond that:
// until as many requests were answered as make it one.
func (w *world) last(duration time.Duration, enough int64) {
	<-time.After(duration)
	for end := time.Now().Add(patience); w.counts.good.Load() < enough && time.Now().Before(end); {
		<-time.After(100 * time.Millisecond)
	}
}

// checkNotes looks for every note, now that nothing is broken any more.
func (w *world) checkNotes(t *testing.T) {
	for _, tenant := range w.tenants {
		from := time.Now()
		resp := w.s.Fetch(tenant.id(), "/notes")
		if resp.Status != 200 {
			t.Errorf("%s in the end: got %d %s", tenant.id(), resp.Status, resp.Body)
		}
		if err := tenant.check(strings.Fields(resp.Body), from, time.Now()); err != nil {
			t.Error(err)
		}
	}
	out, _ := w.s.Command("/usr/bin/journalctl", "--no-pager", "--output=short-precise", "--grep=NOT ALONE").CombinedOutput()
	if strings.Contains(string(out), "NOT ALONE") {
		t.Errorf("two processes of one tenant at once:\n%s", out)
	}
}

// report fails the test for what went wrong.
func (w *world) report(t *testing.T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	const most = 40
	for i, fault := range w.faults {
		if i == most {
			t.Errorf("and %d more", len(w.faults)-most)
			break
		}
		t.Error(fault)
	}
}

// settings are what the environment asks for.
func settings(t *testing.T) (duration time.Duration, seed uint64) {
	duration, seed = 20*time.Second, rand.Uint64N(1_000_000)
	var err error
	if text := os.Getenv("TENEMENT_CHAOS"); text != "" {
		if duration, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("TENEMENT_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	return duration, seed
}
