package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// mounts are where the unified hierarchy may be.
var mounts = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

// Tree is the part of the hierarchy that belongs to one service manager.
type Tree struct{ root string }

// Find gives the tree of the manager whose own control group is the given one, a path
// within the hierarchy (org.freedesktop.systemd1(5), ControlGroup of the Manager).
func Find(controlGroup string) (Tree, error) {
	for _, mount := range mounts {
		// Only directories of the unified hierarchy have this file.
		root := filepath.Join(mount, controlGroup)
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(mount, "cgroup.controllers")); err == nil {
			return Tree{root}, nil
		}
	}
	return Tree{}, fmt.Errorf("find control group %q: cgroup v2 is not at %s", controlGroup, strings.Join(mounts, " or "))
}

// Dir is the directory of an instance's service. It exists while the instance runs.
func (t Tree) Dir(id tenant.ID) string { return filepath.Join(t.root, units.ControlGroup(id)) }

// CPU is the CPU time, of all cores together, that an instance has used since its
// start. Where the instance does not run the error is fs.ErrNotExist. It needs no
// controller (kernel's cgroup-v2 documentation, cpu.stat).
func (t Tree) CPU(id tenant.ID) (time.Duration, error) {
	path := filepath.Join(t.Dir(id), "cpu.stat")
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read CPU time of %s: %w", id, err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "usage_usec "); ok {
			usec, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read CPU time of %s: %w", id, err)
			}
			return time.Duration(usec) * time.Microsecond, nil
		}
	}
	return 0, fmt.Errorf("read CPU time of %s: no usage_usec in %s", id, path)
}

// Waited is for how long, since its start, an instance wanted the CPU and none of its
// processes had it: others did, or it has had all that its quota allows. It is 0 where the
// kernel does not count that (PSI is off, or it is older than Linux 5.13), and where the
// instance does not run. See "full" of cpu.pressure in Documentation/accounting/psi.rst.
func (t Tree) Waited(id tenant.ID) (time.Duration, error) {
	path := filepath.Join(t.Dir(id), "cpu.pressure")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errors.ErrUnsupported) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read CPU pressure of %s: %w", id, err)
	}
	for line := range strings.Lines(string(text)) {
		fields, ok := strings.CutPrefix(strings.TrimSpace(line), "full ")
		if !ok {
			continue
		}
		_, total, _ := strings.Cut(fields, "total=")
		usec, err := strconv.ParseInt(total, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read CPU pressure of %s: %w", id, err)
		}
		return time.Duration(usec) * time.Microsecond, nil
	}
	return 0, nil
}
