package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// freezeTimeout bounds the wait for the kernel to stop every process of the app;
// one in an uninterruptible system call can take long.
const freezeTimeout = time.Second

// errNotFrozen says that the wait was too long, this time.
var errNotFrozen = fmt.Errorf("not frozen within %v", freezeTimeout)

// reclaimStep is how many bytes are asked back at a time, so that a wake in between
// does not wait for the rest.
const reclaimStep = 8 << 20

// cgroup is the sub-cgroup app/ of the unit's delegated cgroup, in which the app
// runs beside ten-init's init/ (Documentation/admin-guide/cgroup-v2.rst, "Delegation").
//
// ten-init begins in app/, where the app is born by an ordinary fork, and then moves
// out. The direct way, clone3(2) with CLONE_INTO_CGROUP, is closed: under
// RestrictNamespaces= clone3 answers ENOSYS, since a filter cannot see its flags.
type cgroup struct {
	unit, dir string
	thawed    atomic.Bool // false while frozen or being frozen

	oomKills int64 // of the unit's processes before this run of it

	left     chan struct{} // closed when ten-init has moved out, or cannot
	leaveErr error         // may be read then
}

// enterCgroup makes sure that ten-init is in app/: systemd has started it there
// (DelegateSubgroup=, 254), or it moves itself.
func enterCgroup() (*cgroup, error) {
	own, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	c := &cgroup{unit: filepath.Dir(own), dir: own, left: make(chan struct{})}
	c.thawed.Store(true)
	if filepath.Base(own) != "app" {
		if own == "/sys/fs/cgroup" || own == "/sys/fs/cgroup/unified" {
			return nil, errors.New("enter cgroup: not started in a cgroup of its own")
		}
		c.unit, c.dir = own, filepath.Join(own, "app")
		if err := moveTo(c.dir); err != nil {
			return nil, err
		}
	}
	c.oomKills = c.countOOMKills()
	// With the controller app/ gets a memory.reclaim; without, a doze only freezes.
	_ = write(filepath.Join(c.unit, "cgroup.subtree_control"), "+memory")
	// Before there is an app, which could make so many that there is no room for this one.
	_ = os.Mkdir(c.outside(), 0o755) // leave tells
	return c, nil
}

// leave begins to move ten-init to init/, after which app/ is the app's alone and can
// be frozen and killed. The kernel lets a move wait for 10 ms and more, for which the
// app's first connection shall not wait.
func (c *cgroup) leave() {
	go func() {
		c.leaveErr = moveTo(c.outside())
		close(c.left)
	}()
}

// outside is where ten-init is to be.
func (c *cgroup) outside() string { return filepath.Join(c.unit, "init") }

// alone waits until app/ is the app's alone; on an error it never will be.
func (c *cgroup) alone() error {
	<-c.left
	return c.leaveErr
}

// moveTo moves ten-init to the cgroup dir and makes it where it is missing.
func moveTo(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make cgroup: %w", err)
	}
	return write(filepath.Join(dir, "cgroup.procs"), "0")
}

// ownCgroup finds the directory of this process's cgroup in the unified hierarchy.
func ownCgroup() (string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("find own cgroup: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
			var st unix.Statfs_t
			if unix.Statfs(mount, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
				return filepath.Join(mount, path), nil
			}
		}
	}
	return "", errors.New("find own cgroup: no unified cgroup hierarchy")
}

// freeze stops every process of the app and returns when all have stopped.
func (c *cgroup) freeze() error {
	if err := c.alone(); err != nil {
		return err
	}
	c.thawed.Store(false)
	deadline := time.Now().Add(freezeTimeout)
	for some := true; some; {
		if err := write(filepath.Join(c.dir, "cgroup.freeze"), "1"); err != nil {
			c.thawed.Store(true)
			return err
		}
		err := c.frozen(deadline)
		if err == nil {
			some, err = c.gather(deadline)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("freeze: %w", err), c.thaw())
		}
	}
	return nil
}

// frozen waits until everything in app/ has stopped.
func (c *cgroup) frozen(deadline time.Time) error {
	// The kernel tells of changes at most every 10 ms, so looking is faster.
	for {
		events, err := os.ReadFile(filepath.Join(c.dir, "cgroup.events"))
		if err != nil {
			return err
		}
		if bytes.Contains(events, []byte("frozen 1")) {
			return nil
		}
		if time.Now().After(deadline) {
			return errNotFrozen
		}
		time.Sleep(retryInterval)
	}
}

// gather moves to app/ what the app has put elsewhere in the unit's cgroup, all of which
// belongs to its user, where it would go on, and could thaw the rest. It reports whether
// there was anything.
func (c *cgroup) gather(deadline time.Time) (some bool, err error) {
	own := strconv.Itoa(os.Getpid())
	err = filepath.WalkDir(c.unit, func(dir string, entry fs.DirEntry, err error) error {
		switch {
		case dir == c.dir:
			return fs.SkipDir
		case errors.Is(err, fs.ErrNotExist) || err == nil && !entry.IsDir():
			return nil
		case err != nil || time.Now().After(deadline):
			return errors.Join(errNotFrozen, err)
		}
		// In a threaded cgroup that cannot be read: its processes are those of one further up.
		pids, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EOPNOTSUPP) {
			return errors.Join(errNotFrozen, err)
		}
		for pid := range strings.FieldsSeq(string(pids)) {
			if pid == own || pid == "0" { // 0 is none of this PID namespace
				continue
			}
			some = true
			if err := write(filepath.Join(c.dir, "cgroup.procs"), pid); err != nil && !errors.Is(err, unix.ESRCH) {
				return errors.Join(errNotFrozen, err)
			}
		}
		return nil
	})
	return some, err
}

// thaw lets the app go on.
func (c *cgroup) thaw() error {
	c.thawed.Store(true)
	return write(filepath.Join(c.dir, "cgroup.freeze"), "0")
}

// reclaim asks the kernel to take back the frozen app's memory, step by step, until
// it gives no more or the app is thawed. It blocks for as long as the kernel works.
func (c *cgroup) reclaim() {
	for !c.thawed.Load() {
		current, err := os.ReadFile(filepath.Join(c.dir, "memory.current"))
		if err != nil {
			return // no memory controller here
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(current)), 10, 64)
		if err != nil || size < 4096 {
			return
		}
		// EAGAIN says that it got less than asked for: nothing more to be had.
		step := strconv.FormatInt(min(size, reclaimStep), 10)
		if err := write(filepath.Join(c.dir, "memory.reclaim"), step); err != nil {
			return
		}
	}
}

// outOfMemory reports whether the kernel has killed a process of the unit for want of
// memory.
func (c *cgroup) outOfMemory() bool { return c.countOOMKills() > c.oomKills }

// countOOMKills reads the unit's memory.events, which counts for its sub-cgroups, too.
func (c *cgroup) countOOMKills() int64 {
	events, err := os.ReadFile(filepath.Join(c.unit, "memory.events"))
	if err != nil {
		return 0 // no memory controller here
	}
	for line := range strings.Lines(string(events)) {
		if text, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			return n
		}
	}
	return 0
}

// kill ends every process of the app at once, frozen or not.
func (c *cgroup) kill() error {
	if err := c.alone(); err != nil {
		return err
	}
	return write(filepath.Join(c.dir, "cgroup.kill"), "1")
}

// write writes to a cgroup file with one write(2).
func write(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	for {
		_, err := unix.Write(fd, []byte(text))
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
}
