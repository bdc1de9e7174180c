package hostile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

// doorbells are the ways in which a ten-init of the tenant's own answers; "-ready" are
// those that tell systemd that they are up, so that nothing but the daemon ends the wait.
var doorbells = []string{
	"nothing", "hangup", "exit", "garbage", "refusal", "long", "endless", "drip", "bare", "file", "directory", "null",
	"pipe", "listening", "doorbell", "unconnected", "datagram", "netlink", "sixty", "two", "journal", "mute", "dead", "armed",
	"nothing-ready", "endless-ready", "drip-ready", "hangup-ready", "sixty-ready", "garbage-ready", "dead-ready", "armed-ready",
}

// evil has instances whose ten-init is not ours. A tenant cannot bring that about (see
// TestWhatIsNotItsOwn); the daemon does not count on it.
const evil = config + `
[service.evil]
command = "/bin/true"
startup_timeout = 1
request_timeout = 2
stop_grace = 1
on_demand = true
max_instances = 100
doze_timeout = "500ms"
`

// unanswered are those that nothing but the daemon's own patience ends, which bears with a
// manager that is busy. Here their clients leave before, and the units are killed.
var unanswered = []string{"nothing", "drip", "nothing-ready", "drip-ready"}

func TestDoorbellAnsweredByAnybody(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: evil, Init: "hostile"})
	s.Spawn(bob)
	before := descriptors(t, s)
	quiet := latency(t, s, 300, nil)
	over := make(chan struct{})
	var wg sync.WaitGroup
	for _, how := range doorbells {
		id := "evil:" + how
		wg.Go(func() {
			patience := harness.Timeout
			if slices.Contains(unanswered, how) {
				patience = 6 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			resp, err := s.Do(ctx, "GET", id, "/", "")
			if slices.Contains(unanswered, how) && errors.Is(err, context.DeadlineExceeded) {
				return
			}
			if err != nil || resp.Status < 500 || resp.Status > 504 {
				t.Errorf("%s: got %d %v, want 502, 503 or 504", id, resp.Status, err)
			}
			if strings.ContainsAny(resp.Body, "\x00\x07\x1b") {
				t.Errorf("%s: control characters came through: %q", id, resp.Body)
			}
		})
	}
	go func() { wg.Wait(); close(over) }()
	var during []time.Duration
	for waiting := true; waiting; {
		select {
		case <-over:
			waiting = false
		default:
			during = append(during, latency(t, s, 50, over))
		}
	}
	t.Logf("quiet %v, during %v", quiet, harness.Median(during))
	killed, kill := make(chan struct{}), time.NewTicker(100*time.Millisecond)
	defer kill.Stop()
	wg.Go(func() {
		for {
			select {
			case <-killed:
				return
			case <-kill.C:
				s.Systemctl("kill", "--signal=KILL", "tenement-evil@*.service")
			}
		}
	})
	destroy := []string{"destroy", "--yes"}
	for _, i := range s.List() {
		if i.ID.Service == "evil" {
			destroy = append(destroy, i.ID.String())
		}
	}
	begun := time.Now()
	if r := s.Ten(destroy...); r.Code != 0 || len(destroy) != 2+len(doorbells) {
		t.Errorf("destroy them all: %s", r)
	}
	close(killed)
	wg.Wait()
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("to destroy them all took %v", took)
	}
	if got := s.Text(bob, "/count"); got == "" {
		t.Error("its neighbour is not there")
	}
	s.HTTP.CloseIdleConnections()
	deadline := time.Now().Add(harness.Timeout)
	after := descriptors(t, s)
	for ; after > before+8 && time.Now().Before(deadline); after = descriptors(t, s) {
		time.Sleep(50 * time.Millisecond)
	}
	if after > before+8 {
		t.Errorf("descriptors of the daemon: got %d, want the %d from before", after, before)
	}
}

// descriptors counts those that the daemon has open.
func descriptors(t *testing.T, s *harness.Server) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// resident is the daemon's memory in use, in megabytes.
func resident(t *testing.T, s *harness.Server) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(s.PID()), "statm"))
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize() >> 20
}
