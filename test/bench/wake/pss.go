package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// proportional gives the memory of all processes in the cgroups that match a pattern, in
// KiB: what they share with others counts in part (proc_pid_smaps(5), "Pss"). What the
// kernel needs for them is not in it.
func proportional(pattern string) (int64, error) {
	lists, err := filepath.Glob(filepath.Join("/sys/fs/cgroup", pattern, "cgroup.procs"))
	if err != nil || len(lists) == 0 {
		return 0, fmt.Errorf("no cgroups %s: %w", pattern, err)
	}
	var sum int64
	for _, list := range lists {
		pids, err := os.ReadFile(list)
		if err != nil {
			return 0, err
		}
		for _, pid := range strings.Fields(string(pids)) {
			text, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
			if err != nil {
				return 0, err
			}
			for line := range strings.Lines(string(text)) {
				if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "Pss:" {
					n, err := strconv.ParseInt(fields[1], 10, 64)
					if err != nil {
						return 0, err
					}
					sum += n
				}
			}
		}
	}
	return sum, nil
}
