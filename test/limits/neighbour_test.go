package limits

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

// A window is of so many requests, one every so often: the neighbour has a few visitors
// and wants little, which it shall get.
const (
	requests = 20
	interval = 20 * time.Millisecond
)

// most is how many times the quiet p99 it may be during an attack.
const most = 2

// TestNeighbour has a tenant use up all that it may and more: processor, tasks, memory,
// disk and log. A neighbour must hardly notice, as long as the daemon's unit has the weight
// that its package gives it.
func TestNeighbour(t *testing.T) {
	s := harness.Start(t, harness.Options{Unit: true, Config: `
[service.app]
command = "{bin}/testapp"
[service.bad]
command = "{bin}/hostile"
stop_grace = 1
memory_limit_mb = 20
tasks_max = 24
storage_quota_mb = 100
`})
	s.Spawn("bad:mallory", "app:bob")
	standApart(t)
	// On a busy host it is hard to tell ten times the share from as much.
	if got := strings.TrimSpace(readFile(t, "/sys/fs/cgroup/tenement-test.service/cpu.weight")); got != "1000" {
		t.Errorf("the daemon's cpu.weight: got %q, want ten times that of tenement.slice", got)
	}
	neighbour := harness.Neighbour{
		Window: func(over <-chan struct{}) time.Duration { return latency(t, s, over) },
		Floor:  20 * time.Millisecond, // two ticks of this kernel's scheduler: app and daemon may wait for one each
		Rounds: 10, Many: 8,
	}
	for _, attack := range []struct {
		name   string
		args   url.Values
		events string // where the kernel counts how often it was at its limit, if that is one for "max"
	}{
		{"burn", url.Values{"n": {"8"}}, ""},
		{"disk", url.Values{"mb": {"100000"}}, ""},
		{"logs", url.Values{"size": {"200"}}, ""},
		{"thrash", url.Values{"mb": {"24"}}, "memory.events"}, // and there are 20 of swap
		{"bomb", url.Values{}, "pids.events"},                 // the last one: what it has started stays
	} {
		t.Run(attack.name, func(t *testing.T) {
			path := "/attack/" + attack.name + "?" + attack.args.Encode()
			before := int64(0)
			if attack.events != "" {
				// In a window it would not get there on a busy host.
				begun := post(t, s, "bad:mallory", path+"&reach=1&ms="+strconv.FormatInt(harness.Timeout.Milliseconds()*3/4, 10))
				before = cgroupStat(t, s, "bad:mallory", attack.events, "max")
				if before == 0 {
					t.Fatalf("%s of the attacker: got no max, want it at its limit; it says %d %s", attack.events, begun.Status, begun.Body)
				}
			}
			killed := 0
			effect := neighbour.Under(most, func() (over <-chan struct{}, end func()) {
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					resp, err := s.Do(t.Context(), http.MethodPost, "bad:mallory", fmt.Sprintf("%s&ms=%d", path, (requests*interval).Milliseconds()), "")
					t.Log(resp.Status, resp.Body, err)
					if err == nil && resp.Status == http.StatusBadGateway && attack.events == "memory.events" {
						// On a slow disk the kernel kills it for what it cannot swap out in time.
						killed++
						eventually(t, "the log tells that the attacker was killed for want of memory", func() bool {
							said := s.Ten("logs", "--search", "Failed with result 'oom-kill'", "bad:mallory").Stdout
							return strings.Count(said, "oom-kill") >= killed
						})
						return
					}
					if err != nil || resp.Status != http.StatusOK {
						t.Errorf("%s: got %d %s %v, want it to attack", attack.name, resp.Status, resp.Body, err)
					}
				}()
				return ended, func() { <-ended }
			})
			t.Log(effect)
			if effect.Ratio > most {
				t.Errorf("the neighbour's p99 is %.1f times as long, want %d at most", effect.Ratio, most)
			}
			if attack.events != "" && cgroupStat(t, s, "bad:mallory", attack.events, "max") == before {
				t.Errorf("%s of the attacker: max is still %d, want it to meet its limit during the attacks", attack.events, before)
			}
			post(t, s, "bad:mallory", "/attack/thrash?mb=0") // with memory to spare it is not killed for want of that
		})
	}
}

// standApart gives this process what it wants of the processor: it stands for clients, who
// are on other machines.
func standApart(t *testing.T) {
	t.Helper()
	was := strings.TrimPrefix(strings.TrimSpace(readFile(t, "/proc/self/cgroup")), "0::")
	const own = "/sys/fs/cgroup/clients"
	enter := func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			t.Error(err)
		}
	}
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own, "cpu.weight"), []byte("10000"), 0); err != nil {
		t.Fatal(err)
	}
	enter(own)
	t.Cleanup(func() {
		enter("/sys/fs/cgroup" + was)
		if err := os.Remove(own); err != nil {
			t.Error(err)
		}
	})
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// latency gives the 99th percentile of a window's requests to the neighbour.
func latency(t *testing.T, s *harness.Server, over <-chan struct{}) time.Duration {
	t.Helper()
	var took []time.Duration
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for range requests {
		begun := time.Now()
		resp, err := s.Do(t.Context(), http.MethodGet, "app:bob", "/health", "")
		took = append(took, time.Since(begun))
		if err != nil || resp.Status != http.StatusOK {
			t.Errorf("the neighbour's request: got %d %s %v", resp.Status, resp.Body, err)
		}
		select {
		case <-tick.C:
			continue
		case <-over:
		}
		break
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}
