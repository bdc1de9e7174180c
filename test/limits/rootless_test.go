package limits

import (
	"fmt"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// TestLimitsWithoutRoot checks that a user's own manager, which has the controllers only
// handed down, sets the same limits.
func TestLimitsWithoutRoot(t *testing.T) {
	o := options(map[string]string{"app": "memory_limit_mb = 32\ncpu_shares = 50\ntasks_max = 40\nrestart = \"never\""})
	o.Rootless = true
	s := harness.Start(t, o)
	s.Spawn("app:alice")
	for file, want := range map[string]int64{
		"memory.max": 32 * mib, "memory.swap.max": 32 * mib, "cpu.weight": 50, "pids.max": 40,
	} {
		eventually(t, fmt.Sprintf("%s is %d", file, want), func() bool { return cgroupNumber(t, s, "app:alice", file) == want })
	}
	if resp := post(t, s, "app:alice", "/allocate?mb=200"); resp.Status != 502 {
		t.Errorf("asked for 200 MB: got %d %s, want 502", resp.Status, resp.Body)
	}
	s.Await("app:alice", tenant.Failed)
	if got, want := s.Get("app:alice").Reason, "the app ended: out of memory (oom-kill)"; got != want {
		t.Errorf("reason in ten ps: got %q, want %q", got, want)
	}
}
