package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// cpuTime is processor time in milliseconds: of the whole machine that the benchmark
// runs in, and of some of its parts.
type cpuTime struct {
	all  float64
	part map[string]float64
}

// cpuParts are the parts that are told apart, in the order in which they are printed: the
// apps of the storm, their ten-inits (both by the cgroup that they are in), the daemon,
// the warm tenant, the services of systemd, the benchmark itself and what it has started.
var cpuParts = []string{"app", "init", "ten", "warm", "systemd", "journald", "dbus", "bench", "children"}

// cpuGroups are the cgroups of the parts that have some.
var cpuGroups = map[string]string{
	"app":      "tenement.slice/tenement-storm@*.service/app",
	"init":     "tenement.slice/tenement-storm@*.service/init",
	"warm":     "tenement.slice/tenement-warm@*.service",
	"systemd":  "init.scope",
	"journald": "system.slice/systemd-journald.service",
	"dbus":     "system.slice/dbus.service",
}

// readCPUTime reads it; ten is the daemon's process, or 0. What the machine does not
// tell of is 0.
func readCPUTime(ten int) cpuTime {
	const root = "/sys/fs/cgroup"
	c := cpuTime{all: groupTime(root), part: map[string]float64{}}
	for part, pattern := range cpuGroups {
		dirs, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, dir := range dirs {
			c.part[part] += groupTime(dir)
		}
	}
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", ten)); err == nil {
		// PID (COMM) STATE …: utime and stime are fields 14 and 15, in ticks of 10 ms.
		if _, rest, ok := strings.Cut(string(text), ") "); ok {
			if fields := strings.Fields(rest); len(fields) >= 13 {
				user, _ := strconv.ParseFloat(fields[11], 64)
				system, _ := strconv.ParseFloat(fields[12], 64)
				c.part["ten"] = (user + system) * 10
			}
		}
	}
	for part, who := range map[string]int{"bench": syscall.RUSAGE_SELF, "children": syscall.RUSAGE_CHILDREN} {
		var use syscall.Rusage
		if syscall.Getrusage(who, &use) == nil {
			c.part[part] = float64(use.Utime.Nano()+use.Stime.Nano()) / 1e6
		}
	}
	return c
}

// groupTime reads a cgroup's cpu.stat (Documentation/admin-guide/cgroup-v2.rst).
func groupTime(dir string) float64 {
	text, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if us, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, _ := strconv.ParseFloat(strings.TrimSpace(us), 64)
			return n / 1000
		}
	}
	return 0
}

// perTenant says what was used since before, for each of n; parts without any are left out.
func (c cpuTime) perTenant(before cpuTime, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "all %.1f", (c.all-before.all)/float64(n))
	for _, part := range cpuParts {
		if used := (c.part[part] - before.part[part]) / float64(n); used >= 0.05 {
			fmt.Fprintf(&b, ", %s %.1f", part, used)
		}
	}
	return b.String()
}
