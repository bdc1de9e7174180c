package scale

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/bench/platform"
	"tenement.dev/test/harness"
)

// few is how many tenants the daemon has that the large one is compared with.
const few = 10

// TestScale measures a daemon that has many tenants, beside one that has few.
func TestScale(t *testing.T) {
	n := min(*each, *awake)
	small := start(t, few, `
[service.small]
command = "{bin}/testapp"
isolation = "process" # it is not the one whose cost is measured
`, "RUNTIME_DIRECTORY=/run/tenement-small", "STATE_DIRECTORY=/var/lib/tenement-small")
	small.wakeAll(few)
	alone, quick := look(t, small.s.PID(), ""), reload(t, small.s)
	bare := look(t, 1, "")

	config := `
[settings]
api_domain = true
armed = %d
doorbells = %d
[service.app]
command = "{bin}/testapp"
idle_timeout = 3600
doze_timeout = %d
`
	large := start(t, *registered, fmt.Sprintf(config, 0, n, 0))
	t.Cleanup(func() { // of both before the harness looks whether anything is left of one
		large.s.End()
		small.s.End()
	})
	var r report
	megabytes := 60 + float64(*registered)/1024
	r.add(large.took < 2*time.Second, fmt.Sprintf("start of the daemon, %d registered", *registered), ms(large.took), "2000 ms")
	<-time.After(settle())
	idle := look(t, large.s.PID(), large.pattern())
	r.states = append(r.states, state{"registered, asleep", *registered, cost{daemon: idle.daemon - alone.daemon}})
	r.note("PID 1 with so many registered", mib(idle.pid1)+", "+mib(bare.pid1)+" before")
	slow := reload(t, large.s)
	r.add(slow < 3*quick/2, "`systemctl daemon-reload`", ms(slow), fmt.Sprintf("1.5 × %s of before", ms(quick)))
	before := cpuTime(t, large.s.PID())
	quiet := 5 * settle()
	<-time.After(quiet)
	r.note("processor while nobody asks, of one core", fmt.Sprintf("%.1f %%", float64(cpuTime(t, large.s.PID())-before)*10/float64(quiet.Milliseconds())*100))

	// The costs of states, from the cheapest on: what PID 1 has once had it keeps.
	large.visitAndStop(n)
	asleep := large.settled()
	r.states = append(r.states, state{"asleep, with its doorbell", n, asleep.minus(idle)})
	large.set(fmt.Sprintf(config, n, n, 0))
	large.await(n, func(i tenant.Snapshot) bool { return i.Armed })
	armed := large.settled()
	r.states = append(r.states, state{"armed", n, armed.minus(idle)})
	large.set(fmt.Sprintf(config, 0, n, 0))
	begun := time.Now()
	large.wakeAll(*awake)
	r.note(fmt.Sprintf("waking %d tenants, 4 at a time", *awake), fmt.Sprintf("%.1f s", time.Since(begun).Seconds()))
	up := large.settled()
	r.states = append(r.states, state{"awake", *awake, up.minus(idle)})
	r.add(float64(up.daemon)/1024 <= megabytes, fmt.Sprintf("the daemon's memory, %d of them awake", *awake), mib(up.daemon), fmt.Sprintf("60 MB + 1 KB each = %.1f MB", megabytes))
	r.note(fmt.Sprintf("`systemctl daemon-reload`, %d awake", *awake), ms(reload(t, large.s)))

	ps := usual(func() {
		if got := large.s.Ten("ps"); got.Code != 0 || !strings.Contains(got.Stdout, "awake") {
			t.Errorf("ten ps: exit %d, %.300s%.300s", got.Code, got.Stdout, got.Stderr)
		}
	})
	r.add(ps < 300*time.Millisecond, "`ten ps`", ms(ps), "300 ms")
	page := large.dashboard()
	r.add(page < 300*time.Millisecond, "the dashboard's list", ms(page), "300 ms")

	large.latencies(&r, small, *awake)

	large.s.Signal(syscall.SIGTERM)
	begun = time.Now()
	large.s.Run()
	again := time.Since(begun)
	r.add(again < 2*time.Second, fmt.Sprintf("start of the daemon, %d to take over", *awake), ms(again), "2000 ms")
	if *more > *awake {
		begun := time.Now()
		large.wakeAll(*more)
		r.note(fmt.Sprintf("waking %d more, 4 at a time", *more-*awake), fmt.Sprintf("%.1f s", time.Since(begun).Seconds()))
		r.states = append(r.states, state{"awake", *more, large.settled().minus(idle)})
		r.note(fmt.Sprintf("the daemon's memory, %d awake", *more), mib(large.settled().daemon))
		r.note(fmt.Sprintf("`systemctl daemon-reload`, %d awake", *more), ms(reload(t, large.s)))
		large.latencies(&r, small, *more)
	}
	all := max(*awake, *more)
	large.set(fmt.Sprintf(config, 0, n, 1))
	large.await(all, func(i tenant.Snapshot) bool { return i.State == tenant.Dozing })
	r.states = append(r.states, state{"dozing, nothing reclaimed", all, large.settled().minus(idle)})

	fmt.Printf("<!-- begin scale -->\n## Many tenants\n\n%s\n%s<!-- end scale -->\n", about(), &r)
}

// about says what this was measured on.
func about() string {
	return fmt.Sprintf("`make bench-scale` on %d cores of %s, load average %s at the end: one daemon with %d registered, another\nwith %d beside it on the same machine.\n",
		runtime.NumCPU(), platform.CPU(), platform.Load(), *registered, few)
}

// fleet is a daemon and its tenants.
type fleet struct {
	t       *testing.T
	s       *harness.Server
	service string
	ids     []string
	took    time.Duration // to start
}

// start fills a registry and starts a daemon on it.
func start(t *testing.T, n int, config string, env ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, s: harness.New(t, harness.Options{Config: config, Env: env, Longest: 30 * time.Minute}), service: "app"}
	if strings.Contains(config, "service.small") {
		f.service = "small"
	}
	for i := range n {
		f.ids = append(f.ids, fmt.Sprintf("%s:t%06d", f.service, i))
	}
	f.s.Register(f.ids...)
	begun := time.Now()
	f.s.Run()
	f.took = time.Since(begun)
	return f
}

// pattern is of the tenants' cgroups.
func (f *fleet) pattern() string { return "tenement.slice/tenement-" + f.service + "@*.service/*" }

// settled is the memory when the daemon has been left alone for a moment.
func (f *fleet) settled() cost {
	f.t.Helper()
	<-time.After(settle())
	return look(f.t, f.s.PID(), f.pattern())
}

// set changes the configuration.
func (f *fleet) set(config string) {
	f.t.Helper()
	f.s.WriteFile("tenement.toml", config)
	if r := f.s.Ten("reload"); r.Code != 0 {
		f.t.Fatal(r)
	}
}

// ask makes a request to a tenant.
func (f *fleet) ask(id string) {
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	if resp, err := f.s.Do(ctx, http.MethodGet, id, "/health", ""); err != nil || resp.Status != http.StatusOK {
		f.t.Errorf("%s: got %d %s %v", id, resp.Status, resp.Body, err)
	}
}

// wakeAll wakes the first n, four at a time.
func (f *fleet) wakeAll(n int) {
	f.t.Helper()
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := worker; i < n; i += 4 {
				f.ask(f.ids[i])
			}
		})
	}
	all.Wait()
}

// visitAndStop has each of the first n awake for a moment, and few at the same time.
func (f *fleet) visitAndStop(n int) {
	f.t.Helper()
	for batch := range slices.Chunk(f.ids[:n], 8) {
		for _, id := range batch {
			f.ask(id)
		}
		if r := f.s.Ten(append([]string{"stop"}, batch...)...); r.Code != 0 {
			f.t.Fatal(r)
		}
	}
}

// await waits until as many are as they should be.
func (f *fleet) await(n int, fits func(tenant.Snapshot) bool) {
	f.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; <-time.After(100 * time.Millisecond) {
		got := 0
		for _, i := range f.list() {
			if fits(i) {
				got++
			}
		}
		if got >= n {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%d in time, want %d", got, n)
		}
	}
}

// list gives the first instances, more than are ever awake.
func (f *fleet) list() []tenant.Snapshot {
	f.t.Helper()
	resp, err := f.api("/instances?limit=1000")
	if err != nil {
		f.t.Fatal(err)
	}
	var page struct{ Instances []tenant.Snapshot }
	if err := json.Unmarshal(resp, &page); err != nil {
		f.t.Fatal(err)
	}
	return page.Instances
}

// api asks the daemon's API on its socket.
func (f *fleet) api(path string) ([]byte, error) {
	c := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", "/run/tenement/api.sock")
	}}}
	resp, err := c.Get("http://localhost/api/v1" + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// latencies asks few and n in turns, beside a daemon that has few, and past both daemons.
func (f *fleet) latencies(r *report, small *fleet, n int) {
	f.t.Helper()
	straight, ten := f.straight(), min(few, n)
	var alone, same, many, straightTen, straightMany []time.Duration
	for range *rounds {
		alone = append(alone, small.p99(few, small.ask))
		same = append(same, f.p99(ten, f.ask))
		many = append(many, f.p99(n, f.ask))
		straightTen = append(straightTen, f.p99(ten, straight))
		straightMany = append(straightMany, f.p99(n, straight))
	}
	base, got := harness.Median(alone), []time.Duration{harness.Median(same), harness.Median(many)}
	goal := fmt.Sprintf("1.2 × %s of %d alone", us(base), few)
	if n > enough {
		r.note(fmt.Sprintf("p99 of requests in turns, %d awake", n), fmt.Sprintf("%s to %d, %s to %d, %s of %d alone", us(got[0]), ten, us(got[1]), n, us(base), few))
	} else {
		for i, m := range []int{ten, n} {
			r.add(float64(got[i]) <= 1.2*float64(base), fmt.Sprintf("p99 of requests to %d of them in turns", m), us(got[i]), goal)
		}
	}
	r.note("the same apps without a proxy", fmt.Sprintf("%s to %d, %s to %d", us(harness.Median(straightTen)), ten, us(harness.Median(straightMany)), n))
}

// straight asks the apps themselves, as root may.
func (f *fleet) straight() (ask func(id string)) {
	f.t.Helper()
	ports := map[string]int{}
	for _, i := range f.list() {
		ports[harness.Host(i.ID.String())] = i.Port
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableCompression: true, MaxIdleConnsPerHost: 128,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(address)
			var d net.Dialer
			return d.DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", ports[host]))
		},
	}}
	f.t.Cleanup(client.CloseIdleConnections)
	return func(id string) {
		resp, err := client.Get("http://" + harness.Host(id) + "/health")
		if err != nil {
			f.t.Errorf("%s itself: %v", id, err)
			return
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			f.t.Errorf("%s itself: got %s %v", id, resp.Status, err)
		}
	}
}

// p99 asks the first n in turns, for as long as a window is, with two connections to each.
func (f *fleet) p99(n int, ask func(id string)) time.Duration {
	var mu sync.Mutex
	var all []time.Duration
	var askers sync.WaitGroup
	end := time.Now().Add(*window)
	for asker := range 2 {
		askers.Go(func() {
			var took []time.Duration
			for i := asker; time.Now().Before(end); i += 2 {
				begun := time.Now()
				ask(f.ids[i%n])
				took = append(took, time.Since(begun))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
	}
	askers.Wait()
	slices.Sort(all)
	return all[len(all)*99/100]
}

// dashboard gives how long the list takes in a browser's session.
func (f *fleet) dashboard() time.Duration {
	f.t.Helper()
	_, secret := f.s.Token()
	jar, err := cookiejar.New(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	origin := "http://localhost:" + fmt.Sprint(f.s.Port)
	browser := &http.Client{Transport: f.s.HTTP.Transport, Jar: jar, Timeout: time.Minute}
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, origin+"/sign-in", strings.NewReader(url.Values{"token": {secret}}.Encode()))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", origin)
	load := func() {
		resp, err := browser.Do(req)
		if err != nil {
			f.t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		text := string(body)
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(text, f.ids[0]) {
			f.t.Fatalf("the dashboard: got %d %.300s %v", resp.StatusCode, text, err)
		}
	}
	load() // and is sent to the list
	if req, err = http.NewRequestWithContext(f.t.Context(), http.MethodGet, origin+"/", nil); err != nil {
		f.t.Fatal(err)
	}
	return usual(load)
}

// reload gives how long PID 1 takes to read all its units again.
func reload(t *testing.T, s *harness.Server) time.Duration {
	t.Helper()
	return usual(func() {
		if out := s.Systemctl("daemon-reload"); out != "" {
			t.Errorf("daemon-reload: %s", out)
		}
	})
}

// usual gives the middle one of three times, or the only one of a smoke run.
func usual(f func()) time.Duration {
	var took []time.Duration
	for range map[bool]int{false: 1, true: 3}[full()] {
		begun := time.Now()
		f()
		took = append(took, time.Since(begun))
	}
	return harness.Median(took)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000) }
func us(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }
