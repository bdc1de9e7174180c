package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cpuTime is processor time in milliseconds: of the whole machine that the benchmark
// runs in, and of some programs.
type cpuTime struct {
	all    float64
	byName map[string]float64
}

// cpuNames are the programs that are told apart, by proc_pid_comm(5).
var cpuNames = []string{"systemd", "systemd-journal", "dbus-daemon", "ten", "ten-init", "python3"}

// readCPUTime reads it. Where the cgroup does not tell, all is 0.
func readCPUTime() cpuTime {
	c := cpuTime{byName: map[string]float64{}}
	if text, err := os.ReadFile("/sys/fs/cgroup/cpu.stat"); err == nil {
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "usage_usec" {
				us, _ := strconv.ParseFloat(fields[1], 64)
				c.all = us / 1000
			}
		}
	}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// PID (COMM) STATE …: utime and stime are fields 14 and 15, in ticks of 10 ms.
		name, rest, _ := strings.Cut(string(text), ") ")
		_, name, _ = strings.Cut(name, " (")
		fields := strings.Fields(rest)
		if len(fields) < 13 {
			continue
		}
		user, _ := strconv.ParseFloat(fields[11], 64)
		system, _ := strconv.ParseFloat(fields[12], 64)
		c.byName[name] += (user + system) * 10
	}
	return c
}

// perTenant says what was used since before, for each of n.
func (c cpuTime) perTenant(before cpuTime, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "all %.1f", (c.all-before.all)/float64(n))
	for _, name := range cpuNames {
		fmt.Fprintf(&b, ", %s %.1f", name, (c.byName[name]-before.byName[name])/float64(n))
	}
	return b.String()
}
