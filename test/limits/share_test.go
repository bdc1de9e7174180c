package limits

import (
	"fmt"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// measured is how long the shares of the processor are added up.
const measured = 4 * time.Second

// TestCPUShares lets two busy tenants of different services fight for the processor.
func TestCPUShares(t *testing.T) {
	s := start(t, map[string]string{"small": "cpu_shares = 100", "large": "cpu_shares = 400"})
	ids := map[string]int64{"small:alice": 100, "large:bob": 400}
	for id, want := range ids {
		s.Spawn(id)
		eventually(t, fmt.Sprintf("cpu.weight of %s is %d, after the boost of its wake", id, want), func() bool {
			return cgroupNumber(t, s, id, "cpu.weight") == want
		})
		s.Text(id, "/burn")
	}
	used := map[string]int64{}
	for id := range ids {
		used[id] = -cgroupStat(t, s, id, "cpu.stat", "usage_usec")
	}
	// What others take of a busy host's processor falls on either: that evens out.
	for begun := time.Now(); ; {
		<-time.After(measured)
		small, large := used["small:alice"], used["large:bob"]
		small += cgroupStat(t, s, "small:alice", "cpu.stat", "usage_usec")
		large += cgroupStat(t, s, "large:bob", "cpu.stat", "usage_usec")
		ratio := float64(large) / float64(small)
		t.Logf("in %v, small %.2f s, large %.2f s: 1:%.1f", time.Since(begun), float64(small)/1e6, float64(large)/1e6, ratio)
		if ratio >= 3 && ratio <= 5 {
			break
		}
		if time.Since(begun) > harness.Timeout {
			t.Fatalf("got 1:%.1f, want about 1:4", ratio)
		}
	}
}

func TestTasksMaxBoundsAForkBomb(t *testing.T) {
	s := start(t, map[string]string{"app": "tasks_max = 40"})
	s.Spawn("app:alice", "app:bob")
	made := number(t, s.Text("app:alice", "/fork-bomb"))
	current, refused := cgroupNumber(t, s, "app:alice", "pids.current"), cgroupStat(t, s, "app:alice", "pids.events", "max")
	t.Logf("%d processes made, %d tasks in the unit, refused %d times", made, current, refused)
	if made < 10 || made >= 40 || current > 40 || refused == 0 {
		t.Errorf("got %d processes and %d tasks, refused %d times; want some, at most 40, and a refusal", made, current, refused)
	}
	s.Text("app:bob", "/count") // has tasks of its own
	if r := s.Ten("stop", "app:alice"); r.Code != 0 {
		t.Error(r)
	}
	if got := s.Get("app:alice").State; got != tenant.Asleep {
		t.Errorf("after ten stop: got %v, want asleep", got)
	}
}
