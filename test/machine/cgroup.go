package machine

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// hierarchies are the mount points of the cgroup hierarchies that systemd-nspawn uses on this host.
type hierarchies struct {
	unified string // cgroup v2; always there
	named   string // v1's name=systemd on a hybrid host, else ""
}

// findHierarchies reads the text of /proc/self/mountinfo.
func findHierarchies(mountinfo string) (hierarchies, error) {
	var h hierarchies
	for line := range strings.Lines(mountinfo) {
		// 36 35 98:0 /root /mount/point options optional... - fstype source superoptions
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 {
			continue
		}
		switch {
		case r[0] == "cgroup2" && h.unified == "":
			h.unified = l[4]
		case r[0] == "cgroup" && strings.Contains(","+r[2]+",", ",name=systemd,") && h.named == "":
			h.named = l[4]
		}
	}
	if h.unified == "" {
		return h, errors.New("the test machine needs the cgroup v2 hierarchy, and none is mounted here: mount it, normally at /sys/fs/cgroup")
	}
	return h, nil
}

// groups are the directories of the cgroup called name, the one in cgroup v2 first.
func (h hierarchies) groups(name string) []string {
	g := []string{filepath.Join(h.unified, name)}
	if h.named != "" {
		g = append(g, filepath.Join(h.named, name))
	}
	return g
}

// killGroup ends every process in a cgroup v2 group and below. A group that is gone is not an error.
func killGroup(dir string) error {
	err := os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Stat(dir); statErr != nil {
			return nil
		}
	}
	return err
}

// removeGroup removes a cgroup and the ones below it, waiting a moment for processes that are just ending.
func removeGroup(dir string) error {
	var err error
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = removeGroupOnce(dir); err == nil {
			return nil
		}
	}
	return fmt.Errorf("remove cgroup %s: %w", dir, err)
}

func removeGroupOnce(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeGroupOnce(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// groupPids lists the processes in a cgroup and below, as this process' pid namespace numbers them.
func groupPids(dir string) []int {
	var pids []int
	// Groups come and go while this walks: what vanishes has no processes.
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		f, err := os.Open(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return nil
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if pid, err := strconv.Atoi(s.Text()); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// namespacePids are the numbers of a process in each pid namespace it is in, from this process' inwards.
func namespacePids(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return strings.Fields(rest)
		}
	}
	return nil
}
