package limits

import (
	"encoding/json"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

const mib = 1 << 20

// TestMemoryLimitKillsOneTenant is about a tenant that wants 200 MB and may have 64.
func TestMemoryLimitKillsOneTenant(t *testing.T) {
	s := start(t, map[string]string{
		"app":  "memory_limit_mb = 64\nrestart = \"never\"",
		"over": "memory_limit_mb = 64\nstartup_timeout = 60\nargs = [\"200\"]",
	})
	s.Spawn("app:alice", "app:bob")
	for file, want := range map[string]int64{"memory.max": 64 * mib, "memory.swap.max": 64 * mib} {
		if got := cgroupNumber(t, s, "app:alice", file); got != want {
			t.Errorf("%s: got %d, want %d", file, got, want)
		}
	}
	bob, _, _ := strings.Cut(s.Text("app:bob", "/count"), " ")

	t.Run("while it runs", func(t *testing.T) {
		if resp := post(t, s, "app:alice", "/allocate?mb=200"); resp.Status != 502 {
			t.Errorf("asked for 200 MB: got %d %s, want 502", resp.Status, resp.Body)
		}
		s.Await("app:alice", tenant.Failed)
		if got, want := s.Get("app:alice").Reason, "the app ended: out of memory (oom-kill)"; got != want {
			t.Errorf("reason in ten ps: got %q, want %q", got, want)
		}
		eventually(t, "ten logs tells of the oom-kill", func() bool { // journald may be behind
			return strings.Contains(s.Ten("logs", "app:alice").Stdout, "Failed with result 'oom-kill'")
		})
		s.Ten("restart", "app:alice")
		if got := s.Text("app:alice", "/count"); !strings.HasSuffix(got, " 1") {
			t.Errorf("restarted: got count %s, want 1 of a new process", got)
		}
	})
	t.Run("from the start", func(t *testing.T) {
		r := s.Ten("spawn", "over:alice")
		for _, want := range []string{"out of memory (oom-kill)", "hint: memory_limit_mb of service over is 64"} {
			if r.Code == 0 || !strings.Contains(r.Stderr, want) {
				t.Errorf("spawn: got %s, want it refused with %q", r, want)
			}
		}
		if got := s.Get("over:alice"); got.State != tenant.Asleep || !strings.Contains(got.Reason, "oom-kill") {
			t.Errorf("ten ps: got %v, %q, want asleep for the oom-kill", got.State, got.Reason)
		}
	})
	if got, want := s.Text("app:bob", "/count"), bob+" 2"; got != want {
		t.Errorf("the neighbour's process and count: got %s, want still %s", got, want)
	}
}

// TestDozeGivesMemoryBack freezes an app with 100 MB in use.
func TestDozeGivesMemoryBack(t *testing.T) {
	s := start(t, map[string]string{"app": "doze_timeout = 1"})
	s.Spawn("app:alice")
	stay(t, s, "app:alice")
	post(t, s, "app:alice", "/allocate?mb=100")
	want := s.Text("app:alice", "/sum")
	before := cgroupNumber(t, s, "app:alice", "memory.current")
	leave(t, s, "app:alice")
	s.Await("app:alice", tenant.Dozing)
	var after, swap int64
	eventually(t, "more than four fifths of the memory are given back", func() bool {
		after, swap = cgroupNumber(t, s, "app:alice", "memory.current"), cgroupNumber(t, s, "app:alice", "memory.swap.current")
		return after < before/5
	})
	if swap < 80*mib {
		t.Errorf("in swap: got %d MiB, want most of the 100 MiB that the app has in use", swap/mib)
	}
	if got := s.Text("app:alice", "/sum"); got != want {
		t.Errorf("after the thaw: got %s, want %s as before", got, want)
	}
	var list []wire.Instance
	if r := s.Ten("ps", "--json"); json.Unmarshal([]byte(r.Stdout), &list) != nil || len(list) != 1 {
		t.Fatalf("ten ps --json: got %s, want one instance", r)
	}
	if got := list[0]; got.Wakes != 1 || got.Thaws != 1 {
		t.Errorf("got %d wakes and %d thaws, want 1 of each", got.Wakes, got.Thaws)
	}
	t.Logf("memory.current %.1f -> %.1f MiB, memory.swap.current %.1f MiB, thaw %.1f ms", float64(before)/mib, float64(after)/mib,
		float64(swap)/mib, list[0].LastWake.TotalMS)
}
