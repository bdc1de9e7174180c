package machine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// machinesOf are the ids of the machines that a process owns.
func machinesOf(t *testing.T, pid int) []string {
	t.Helper()
	entries, err := os.ReadDir("/run/tenement-test")
	if err != nil {
		t.Fatal(err)
	}
	owned := regexp.MustCompile(fmt.Sprintf(`^[0-9a-f]{8}-\d+-%d-\d+-\d+$`, pid))
	var ids []string
	for _, e := range entries {
		if owned.MatchString(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids
}

// machineOf is the id of the one machine that a process owns.
func machineOf(t *testing.T, pid int) string {
	t.Helper()
	ids := machinesOf(t, pid)
	if len(ids) != 1 {
		t.Fatalf("process %d owns %q, want one machine", pid, ids)
	}
	if found := traces(t, ids[0]); len(found) < 3 { // otherwise the search for leftovers proves nothing
		t.Fatalf("of a running machine, only %q is found", found)
	}
	return ids[0]
}

// traces lists what there is of the machine called id on this host: directories, cgroups, and processes that are in its
// cgroups, see its mounts or have it in their command line.
func traces(t *testing.T, id string) []string {
	t.Helper()
	if id == "" {
		t.Fatal("no id")
	}
	var found []string
	globs := []string{"/run/tenement-test/" + id, "/sys/fs/cgroup/*" + id, "/sys/fs/cgroup/*/*" + id}
	for _, glob := range globs {
		paths, err := filepath.Glob(glob)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, paths...)
	}
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, proc := range procs {
		for _, file := range []string{"mountinfo", "cgroup", "cmdline"} {
			if b, err := os.ReadFile(filepath.Join(proc, file)); err == nil && strings.Contains(string(b), id) {
				found = append(found, filepath.Join(proc, file))
			}
		}
	}
	return found
}

// awaitNoTraces waits until nothing is left of a machine whose owner was killed.
func awaitNoTraces(t *testing.T, id string) {
	t.Helper()
	var found []string
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if found = traces(t, id); len(found) == 0 {
			return
		}
	}
	t.Errorf("still there: %q", found)
}

func children(t *testing.T, pid int) []int {
	t.Helper()
	var pids []int
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("list the children of %d: %v", pid, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(f); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}
