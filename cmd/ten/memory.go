package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tenement.dev/internal/keeper"
	"tenement.dev/internal/pressure"
	"tenement.dev/units"
)

// sliceDir is the cgroup directory of all instances, "" where it is not known. It need
// not be there yet.
func sliceDir(user bool, uid int) string {
	root := cgroupRoot()
	switch {
	case root == "":
		return ""
	case user:
		return filepath.Join(root, fmt.Sprintf("user.slice/user-%d.slice/user@%d.service", uid, uid), units.Slice)
	default:
		return filepath.Join(root, units.Slice)
	}
}

// cgroupRoot is where cgroup v2 is mounted, "" where it is not (proc_pid_mountinfo(5)).
func cgroupRoot() string {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		mount, rest, _ := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(mount)
		if len(fields) > 4 && strings.HasPrefix(rest, "cgroup2 ") {
			return fields[4]
		}
	}
	return ""
}

func pressureCheck() keeper.Check {
	ok, detail := pressure.Check()
	c := keeper.Check{Name: "memory pressure", OK: ok, Detail: detail}
	if !ok {
		c.Hint = "boot with psi=1; without it starts are held back only when next to no memory is left, and idle instances keep theirs"
	}
	return c
}
