package simulate

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tenement.dev/test/bench/platform"
	"tenement.dev/test/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(harness.Main(m))
}

var (
	tenants = flag.Int("tenants", 12, "how many there are")
	visits  = flag.Int("visits", 16, "how many there are in a day")
	day     = flag.Duration("day", 1500*time.Millisecond, "what a day is compressed to")
	seed    = flag.Uint64("seed", 1, "of the trace")
)

// How long tenants are left alone before they doze and sleep, in a day's own minutes.
const (
	dozeAfter = 5
	idleAfter = 20
)

// compressed is so many of a day's minutes as seconds that a configuration takes.
func compressed(minutes float64) float64 { return minutes / hours / 60 * day.Seconds() }

// sample is what there is at some hour.
type sample struct {
	hour, mb float64
	awake    int
}

// result is what a day was like.
type result struct {
	samples []sample
	wakes   []int // in each hour
	// warm and woken are the requests by whether they had to wake their tenant, in order.
	warm, woken []time.Duration
}

// TestSimulate has a day twice, one after the other.
func TestSimulate(t *testing.T) {
	config := `
[settings]
armed = %d
doorbells = 64
[service.app]
command = "{bin}/testapp"
`
	s := harness.New(t, harness.Options{Longest: 2**day + 10*time.Minute, Config: fmt.Sprintf(config, min(64, *tenants/4)) +
		fmt.Sprintf("doze_timeout = %.2f\nidle_timeout = %.2f\n", compressed(dozeAfter), compressed(idleAfter))})
	ids := make([]string, *tenants)
	for i := range ids {
		ids[i] = fmt.Sprintf("app:t%04d", i)
	}
	s.Register(ids...)
	s.Run()
	list := trace(*seed, *tenants, *visits)
	t.Cleanup(s.End)

	asIs := live(t, s, ids, list)
	s.WriteFile("tenement.toml", fmt.Sprintf(config, 0))
	if r := s.Ten("reload"); r.Code != 0 {
		t.Fatal(r)
	}
	all := live(t, s, ids, list)

	requests := 0
	for _, v := range list {
		requests += len(v.gaps)
	}
	if got := len(asIs.warm) + len(asIs.woken); got != requests || len(asIs.woken) == 0 {
		t.Errorf("got %d requests answered, %d of them with a wake; want %d", got, len(asIs.woken), requests)
	}
	fmt.Printf("<!-- begin simulate -->\n## A day of %d tenants\n\n%s<!-- end simulate -->\n", *tenants, describe(list, requests, asIs, all))
	fmt.Printf("<!-- begin images/density.svg -->\n%s<!-- end images/density.svg -->\n",
		picture(fmt.Sprintf("%d tenants, a day of %d visits", *tenants, *visits), asIs.samples, all.samples, asIs.wakes))
}

// live plays a day.
func live(t *testing.T, s *harness.Server, ids []string, list []visit) *result {
	t.Helper()
	r := &result{wakes: make([]int, hours)}
	var mu sync.Mutex
	var visitors sync.WaitGroup
	begun := time.Now()
	at := func(hour float64) time.Time { return begun.Add(time.Duration(hour / hours * float64(*day))) }
	for _, v := range list {
		visitors.Go(func() {
			for _, gap := range v.gaps {
				<-time.After(time.Until(at(v.at + gap)))
				hour := time.Since(begun).Seconds() / day.Seconds() * hours
				took, woke := ask(t, s, ids[v.tenant])
				mu.Lock()
				if woke {
					r.woken = append(r.woken, took)
					r.wakes[min(int(hour), hours-1)]++
				} else {
					r.warm = append(r.warm, took)
				}
				mu.Unlock()
			}
		})
	}
	for i := range 97 { // each quarter of an hour
		hour := float64(i) / 4
		<-time.After(time.Until(at(hour)))
		awake, mb := memory(t)
		r.samples = append(r.samples, sample{hour, mb, awake})
	}
	visitors.Wait()
	slices.Sort(r.warm)
	slices.Sort(r.woken)
	return r
}

// ask makes a request, and tells whether it has started its tenant's app.
func ask(t *testing.T, s *harness.Server, id string) (took time.Duration, woke bool) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begun := time.Now()
	resp, err := s.Do(ctx, http.MethodGet, id, "/count", "")
	took = time.Since(begun)
	if err != nil || resp.Status != http.StatusOK {
		t.Errorf("%s: got %d %s %v", id, resp.Status, resp.Body, err)
	}
	timing := resp.Header.Get("Server-Timing")
	return took, strings.Contains(timing, "cold") || strings.Contains(timing, "armed")
}

// memory counts the tenants whose app is there, and adds up what their processes have of
// their own: pages that are no file's (proc_pid_status(5), RssAnon).
func memory(t *testing.T) (awake int, mb float64) {
	t.Helper()
	lists, err := filepath.Glob("/sys/fs/cgroup/tenement.slice/tenement-app@*.service/*/cgroup.procs")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		pids, _ := os.ReadFile(list) // it may have gone meanwhile, as may each of them
		fields := strings.Fields(string(pids))
		if len(fields) > 0 && filepath.Base(filepath.Dir(list)) == "app" {
			awake++
		}
		for _, pid := range fields {
			status, _ := os.ReadFile("/proc/" + pid + "/status")
			_, rest, ok := strings.Cut(string(status), "RssAnon:")
			if !ok {
				continue
			}
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			mb += float64(kib) / 1024
		}
	}
	return awake, mb
}

// describe tells of both days.
func describe(list []visit, requests int, asIs, all *result) string {
	perTenant := map[int]int{}
	for _, v := range list {
		perTenant[v.tenant]++
	}
	most := 0
	for _, n := range perTenant {
		most = max(most, n)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `%sA day in %v, for real: processes start, doze, sleep and answer. %d visits (seed %d), the busiest tenant with %d, %d with
none; %d requests. Tenants doze after %d of its minutes and sleep after %d; the day was lived twice, the second time
without that. An hour lasts %.1f s, so what a wake takes weighs %.0f times as much as it would. Load average %s at the end.

| | as they are needed | all stay awake |
|---|---:|---:|
`, "![memory and wakes over the day](images/density.svg)\n\n", *day, len(list), *seed, most, *tenants-len(perTenant), requests,
		dozeAfter, idleAfter, day.Seconds()/hours, (24*time.Hour).Seconds()/day.Seconds(), platform.Load())
	row := func(what string, f func(*result) string) {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", what, f(asIs), f(all))
	}
	row("memory of the tenants, mean of the day", func(r *result) string {
		sum := 0.0
		for _, s := range r.samples {
			sum += s.mb
		}
		return fmt.Sprintf("%.0f MB", sum/float64(len(r.samples)))
	})
	row("most at any time", func(r *result) string {
		top := slices.MaxFunc(r.samples, func(a, b sample) int { return int(a.mb - b.mb) })
		return fmt.Sprintf("%.0f MB, %d awake", top.mb, top.awake)
	})
	row("starts of an app, in an hour", func(r *result) string {
		return fmt.Sprintf("%.0f, %d at most", float64(len(r.woken))/hours, slices.Max(r.wakes))
	})
	row("requests that found it awake or dozing: p50, p90, p99", func(r *result) string { return spread(r.warm) })
	row("requests that started it: p50, p90, p99", func(r *result) string { return spread(r.woken) })
	return b.String()
}

// spread tells of sorted times.
func spread(list []time.Duration) string {
	if len(list) == 0 {
		return "–"
	}
	at := func(percent int) float64 {
		return float64(list[(len(list)-1)*percent/100].Microseconds()) / 1000
	}
	return fmt.Sprintf("%.1f, %.1f, %.1f ms", at(50), at(90), at(99))
}
