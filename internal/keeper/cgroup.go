package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// What an instance may make of cgroups in the one that is delegated to it. Without a bound
// the manager would be busy for as long as it takes to remove them when the instance
// stops, 0.3 ms each, and it gives up on those that are nested more than a hundred deep.
const (
	maxCgroups     = "64"
	maxCgroupDepth = "8"
)

// cgroups finds the cgroups of instances in the file system.
type cgroups struct{ roots []string }

// findCgroups: in a machine of its own the manager has a cgroup that is not the topmost.
func findCgroups(user bool) cgroups {
	text, err := os.ReadFile("/proc/1/cgroup")
	if err != nil {
		return cgroups{}
	}
	var own string
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			own = strings.TrimSuffix(path, "/init.scope")
		}
	}
	if user {
		uid := os.Getuid()
		own = filepath.Join(own, fmt.Sprintf("user.slice/user-%d.slice/user@%d.service", uid, uid))
	}
	return cgroups{[]string{filepath.Join("/sys/fs/cgroup", own), filepath.Join("/sys/fs/cgroup/unified", own)}}
}

// of gives the instance's cgroups that exist: one, or none.
func (c cgroups) of(id tenant.ID) (dirs []string) {
	for _, root := range c.roots {
		dir := filepath.Join(root, units.Slice, units.ServiceName(id))
		if _, err := os.Stat(dir); err == nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// bound limits what the instance may make of cgroups. The files are the machine's, in a
// directory that is the instance's otherwise; in a user's manager they are the user's.
func (c cgroups) bound(id tenant.ID) error {
	var errs []error
	for _, dir := range c.of(id) {
		for name, limit := range map[string]string{"cgroup.max.descendants": maxCgroups, "cgroup.max.depth": maxCgroupDepth} {
			err := os.WriteFile(filepath.Join(dir, name), []byte(limit), 0)
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have ended meanwhile
				errs = append(errs, fmt.Errorf("bound cgroups of %s: %w", id, err))
			}
		}
	}
	return errors.Join(errs...)
}

// remove removes what the manager has left of the cgroups of an instance that has ended.
func (c cgroups) remove(id tenant.ID) error {
	var errs []error
	for _, dir := range c.of(id) {
		if err := removeCgroup(dir); err != nil {
			errs = append(errs, fmt.Errorf("remove cgroups of %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// removeCgroup removes dir and all cgroups in it, the innermost first. It holds one
// directory open at a time, and calls itself for none: the depth is the instance's choice.
func removeCgroup(dir string) error {
	here, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer here.Close()
	stack := []string{filepath.Base(dir)}
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		err := here.Remove(top)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
			stack = stack[:len(stack)-1]
			continue
		}
		entries, lerr := fs.ReadDir(here.FS(), top)
		if lerr != nil {
			return lerr
		}
		found := false
		for _, entry := range entries {
			if entry.IsDir() {
				stack = append(stack, filepath.Join(top, entry.Name()))
				found = true
			}
		}
		if !found {
			return err
		}
	}
	return nil
}
