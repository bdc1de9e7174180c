package scale

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// cost is memory in KiB.
type cost struct {
	daemon, pid1 int64
	// processes is what the tenants' own have, each page by the share of who uses it.
	processes int64
	// kernel is what the machine's kernel has for all: slabs, page tables, stacks, counters
	// of each processor. Others on the same kernel are in it.
	kernel int64
}

func (c cost) minus(o cost) cost {
	return cost{c.daemon - o.daemon, c.pid1 - o.pid1, c.processes - o.processes, c.kernel - o.kernel}
}

// look takes the memory of all that is there. pattern is of the tenants' cgroups.
func look(t *testing.T, daemon int, pattern string) cost {
	t.Helper()
	c := cost{daemon: field(t, fmt.Sprintf("/proc/%d/status", daemon), "VmRSS:"), pid1: field(t, "/proc/1/status", "VmRSS:")}
	for _, name := range []string{"Slab:", "PageTables:", "KernelStack:", "Percpu:"} {
		c.kernel += field(t, "/proc/meminfo", name)
	}
	lists, err := filepath.Glob(filepath.Join("/sys/fs/cgroup", pattern, "cgroup.procs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		pids, err := os.ReadFile(list)
		if err != nil {
			continue // it has gone meanwhile
		}
		for pid := range strings.FieldsSeq(string(pids)) {
			if text, err := os.ReadFile("/proc/" + pid + "/smaps_rollup"); err == nil { // else it has gone, too
				c.processes += find(t, text, "Pss:")
			}
		}
	}
	return c
}

// field is a number of KiB in a file of the kernel's, zero where it has none.
func field(t *testing.T, path, name string) int64 {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return find(t, text, name)
}

func find(t *testing.T, text []byte, name string) int64 {
	t.Helper()
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == name {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// cpuTime is what a process has used, in ticks of 10 ms (proc_pid_stat(5)).
func cpuTime(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return user + system
}
