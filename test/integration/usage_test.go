package integration

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
	"tenement.dev/test/harness"
)

const usageConfig = `
[service.app]
command = "{bin}/testapp"
restart = "never"
`

// usageOf gives what an instance has used by now.
func usageOf(t *testing.T, s *harness.Server, id string) wire.DailyUse {
	t.Helper()
	result := s.Ten("usage", id, "--json")
	var days []wire.DailyUse
	if err := json.Unmarshal([]byte(result.Stdout), &days); err != nil || result.Code != 0 {
		t.Fatalf("got %+v, %v", result, err)
	}
	var sum wire.DailyUse // a test may run at midnight
	for _, d := range days {
		sum.Requests += d.Requests
		sum.ReceivedBytes += d.ReceivedBytes
		sum.SentBytes += d.SentBytes
		sum.AwakeSeconds += d.AwakeSeconds
		sum.CPUSeconds += d.CPUSeconds
	}
	return sum
}

// cpuOf gives the CPU seconds that systemd knows of the present process of an instance,
// or of its last one.
func cpuOf(t *testing.T, s *harness.Server, id string) float64 {
	t.Helper()
	ns, err := strconv.ParseInt(s.Show(id, "CPUUsageNSec"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return float64(ns) / 1e9
}

// TestUsage has an instance use the CPU and end in each way: what it has used is known
// afterwards, over daemons that are killed, and when it is destroyed.
func TestUsage(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: usageConfig})
	const id = "app:alice"
	burn := func() {
		t.Helper()
		s.Text(id, "/burn?ms=5000")
		eventually(t, "it has used the CPU", func() bool { return cpuOf(t, s, id) > 0.05 })
	}
	known := 0.0 // the CPU time of processes that have ended
	ended := func(what string, cpu float64) {
		t.Helper()
		eventually(t, what+": all is counted", func() bool { return usageOf(t, s, id).CPUSeconds >= known+cpu-0.001 })
		known = usageOf(t, s, id).CPUSeconds
	}
	s.Spawn(id)
	if resp, err := s.Do(t.Context(), http.MethodPost, id, "/", strings.Repeat("x", 1000)); err != nil || resp.Status != http.StatusOK {
		t.Fatalf("got %d, %v, want 200", resp.Status, err)
	}
	// A client may have all of an answer before that is counted.
	eventually(t, "the request is counted", func() bool {
		u := usageOf(t, s, id)
		return u.Requests == 1 && u.SentBytes >= 1000 && s.Get(id).InFlight == 0
	})
	if got := usageOf(t, s, id); got.Requests != 1 || got.ReceivedBytes != 1000 || got.AwakeSeconds <= 0 {
		t.Errorf("after a request: got %+v, want one, its bytes, and time awake", got)
	}

	// What the machine does not know is not said to be nothing.
	if has, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		t.Fatal(err)
	} else if !strings.Contains(string(has), "memory") {
		if r := s.Ten("usage", id); !regexp.MustCompile(`app:alice .* -  +-\n$`).MatchString(r.Stdout) {
			t.Errorf("%s: want memory and data not known", r)
		}
		if r := s.Ten("top", "--once", "--interval", "200ms"); !regexp.MustCompile(`app:alice +awake +0 +[0-9.]+ +[0-9.]+ +- +1\n$`).MatchString(r.Stdout) {
			t.Errorf("%s: want memory not known", r)
		}
	}

	burn()
	s.Ten("stop", id)
	first := cpuOf(t, s, id)
	ended("stopped", first)
	if known > first+0.001 {
		t.Errorf("got %v s of CPU time, want %v", known, first)
	}
	asleep := usageOf(t, s, id).AwakeSeconds

	burn()
	crashed := cpuOf(t, s, id)
	if resp, err := s.Do(t.Context(), http.MethodPost, id, "/exit?code=1", ""); err != nil || resp.Status != http.StatusBadGateway {
		t.Fatalf("got %d, %v, want 502", resp.Status, err)
	}
	s.Await(id, tenant.Failed)
	ended("crashed", crashed)

	s.Ten("restart", id)
	burn()
	before := usageOf(t, s, id)
	s.Signal(syscall.SIGKILL)
	s.Run()
	eventually(t, "after a kill: time awake is counted on", func() bool { return usageOf(t, s, id).AwakeSeconds > before.AwakeSeconds })
	if got := usageOf(t, s, id); got.CPUSeconds < before.CPUSeconds || got.Requests != before.Requests {
		t.Errorf("after a kill: got %+v, want no less than %+v", got, before)
	}
	earlier := known
	s.Ten("stop", id)
	last := cpuOf(t, s, id)
	ended("stopped by the next daemon", last)
	if known > earlier+last+0.001 {
		t.Errorf("got %v s of CPU time, want %v: some was counted twice", known, earlier+last)
	}
	all := usageOf(t, s, id)
	if all.Requests != before.Requests || all.AwakeSeconds < asleep {
		t.Errorf("got %+v, want the requests of %+v", all, before)
	}
	s.Ten("destroy", "--yes", id)
	if got := usageOf(t, s, id); got != all {
		t.Errorf("destroyed: got %+v, want %+v", got, all)
	}
}
