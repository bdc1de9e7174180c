package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
)

// stateDir holds one directory per machine, named by the machine's id.
const stateDir = "/run/tenement-test"

// groupPrefix begins the name of every machine's cgroup.
const groupPrefix = "tenement-test-"

// ids numbers the machines of this process.
var ids atomic.Int64

// owner is a process that boots machines. A machine's id spells it out, so that whether the owner still lives can be told
// from the name of anything the machine left.
type owner struct {
	boot  string // first eight digits of the kernel's boot id
	pidNS uint64 // inode of the pid namespace that the pid belongs to
	pid   int
	start uint64 // start time in clock ticks since boot: tells a process from a later one with the same pid
}

var idPattern = regexp.MustCompile(`^([0-9a-f]{8})-(\d+)-(\d+)-(\d+)-(\d+)$`)

// self is this process.
func self() (owner, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(boot) < 8 {
		return owner{}, fmt.Errorf("read the boot id: %w", err)
	}
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return owner{}, fmt.Errorf("read the pid namespace: %w", err)
	}
	inode, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(ns, "pid:["), "]"), 10, 64)
	if err != nil {
		return owner{}, fmt.Errorf("read the pid namespace: %w", err)
	}
	start, err := startTime(os.Getpid())
	if err != nil {
		return owner{}, err
	}
	return owner{boot: string(boot[:8]), pidNS: inode, pid: os.Getpid(), start: start}, nil
}

// id is a new machine's id.
func (o owner) id() string {
	return fmt.Sprintf("%s-%d-%d-%d-%d", o.boot, o.pidNS, o.pid, o.start, ids.Add(1))
}

// parseOwner reads a machine's id.
func parseOwner(id string) (owner, bool) {
	f := idPattern.FindStringSubmatch(id)
	if f == nil {
		return owner{}, false
	}
	o := owner{boot: f[1]}
	var err [3]error
	o.pidNS, err[0] = strconv.ParseUint(f[2], 10, 64)
	o.pid, err[1] = strconv.Atoi(f[3])
	o.start, err[2] = strconv.ParseUint(f[4], 10, 64)
	return o, errors.Join(err[:]...) == nil
}

// dead reports whether me can tell that o has ended. Of an owner in another pid namespace it cannot.
func (o owner) dead(me owner) bool {
	if o.boot != me.boot {
		return true
	}
	if o.pidNS != me.pidNS {
		return false
	}
	start, err := startTime(o.pid)
	return err != nil && errors.Is(err, fs.ErrNotExist) || err == nil && start != o.start
}

// startTime is field 22 of /proc/PID/stat (proc_pid_stat(5)). A zombie has ended: it counts as not there.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read the start time of process %d: %w", pid, err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])) // f[0] is field 3, the state
	if len(f) < 20 {
		return 0, fmt.Errorf("read the start time of process %d: %q", pid, b)
	}
	if f[0] == "Z" || f[0] == "X" {
		return 0, fmt.Errorf("read the start time of process %d: %w", pid, fs.ErrNotExist)
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// sweep removes what machines of dead owners left.
func sweep(h hierarchies, me owner) error {
	entries, err := os.ReadDir(stateDir)
	if err != nil {
		return fmt.Errorf("look for machines left over: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if o, ok := parseOwner(e.Name()); ok && o.dead(me) {
			errs = append(errs, removeLeftovers(h, e.Name()))
		}
	}
	return errors.Join(errs...)
}

// removeLeftovers ends what is left of the machine called id and removes its cgroups and directory.
func removeLeftovers(h hierarchies, id string) error {
	groups := h.groups(groupPrefix + id)
	errs := []error{killGroup(groups[0])} // commands' helpers outside the machine's pid namespace are in it, too
	for _, g := range groups {
		errs = append(errs, removeGroup(g))
	}
	if err := errors.Join(errs...); err != nil {
		return err // the directory stays: it is how the next sweep finds the cgroup
	}
	dir := filepath.Join(stateDir, id)
	for _, path := range []string{filepath.Join(dir, "notify"), filepath.Join(dir, "mnt"), dir} {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
