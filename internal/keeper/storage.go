package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// What bounds a walk through an instance's data, which is hostile: how many
// directories may be open below each other, how much is read before it rests for as
// long as that took, and how long all of it may take: others wait for their turn.
const (
	maxDepth  = 128
	walkBatch = 512
	walkTime  = 45 * time.Second
)

// errTooDeep says that data cannot be measured; an instance has no business to nest
// its directories that deep.
var errTooDeep = fmt.Errorf("directories nested deeper than %d", maxDepth)

// errTooMuch says that a walk's time was over before its end.
var errTooMuch = fmt.Errorf("not walked through within %v", walkTime)

// dataDir is an instance's data directory.
func (l *Local) dataDir(id tenant.ID) string {
	return filepath.Join(l.host.DataRoot, id.Service, id.Name)
}

// Measure tells how many bytes an instance's data has, and whether the file system
// enforces the limit. Data that cannot be measured is a *tenant.Error with CodeLimit.
func (l *Local) Measure(ctx context.Context, id tenant.ID) (bytes int64, enforced bool, err error) {
	enforced = l.host.ProjectQuota
	dir, err := openDir(l.dataDir(id))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, enforced, nil
	}
	if err != nil {
		return 0, enforced, fmt.Errorf("measure data of %s: %w", id, err)
	}
	if enforced {
		bytes, ok, err := l.quotaUsage(id, dir)
		if err != nil || ok {
			return bytes, enforced, errors.Join(err, dir.Close())
		}
	}
	// One at a time: walks compete with the instances for the disk.
	select {
	case l.walking <- struct{}{}:
		defer func() { <-l.walking }()
	case <-ctx.Done():
		return 0, enforced, errors.Join(context.Cause(ctx), dir.Close())
	}
	ctx, cancel := context.WithTimeoutCause(ctx, l.walkTime, errTooMuch)
	defer cancel()
	w := walk{ctx: ctx, links: map[uint64]bool{}, batchAt: time.Now()}
	err = w.tree(dir, 0)
	switch {
	case errors.Is(err, errTooDeep):
		return w.bytes, enforced, &tenant.Error{
			Code: tenant.CodeLimit, Op: "measure data of", ID: id, Err: err,
			Msg:  fmt.Sprintf("its data has directories nested deeper than %d, which cannot be measured", maxDepth),
			Hint: "remove them",
		}
	case errors.Is(err, errTooMuch):
		return w.bytes, enforced, &tenant.Error{
			Code: tenant.CodeLimit, Op: "measure data of", ID: id, Err: err,
			Msg:  fmt.Sprintf("its data has so many files that it cannot be measured within %v", walkTime),
			Hint: "remove some of them",
		}
	case err != nil:
		return w.bytes, enforced, fmt.Errorf("measure data of %s: %w", id, err)
	}
	return w.bytes, enforced, nil
}

// openDir opens a directory itself, not what a link leads to.
func openDir(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// walk adds up what the files of a tree have on the disk, and calls visit, if it is
// not nil, for each file and directory, the latter after what is in it.
type walk struct {
	ctx   context.Context
	visit func(dir *os.File, name string, st *unix.Stat_t) error
	bytes int64
	// links are the inodes with several names that have been counted.
	links map[uint64]bool
	// batch counts what was read since batchAt.
	batch   int
	batchAt time.Time
}

// tree walks dir, which it closes. Nothing is reached by a path: whoever owns the tree
// may rename what is in it meanwhile.
func (w *walk) tree(dir *os.File, depth int) error {
	defer dir.Close()
	if depth > maxDepth {
		return errTooDeep
	}
	var own unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &own); err != nil {
		return err
	}
	w.bytes += own.Blocks * 512
	for {
		names, err := dir.Readdirnames(walkBatch)
		for _, name := range names {
			if err := w.entry(dir, name, &own, depth); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// entry looks at one name in dir. What has gone meanwhile counts nothing, and what is
// mounted there is not the instance's.
func (w *walk) entry(dir *os.File, name string, parent *unix.Stat_t, depth int) error {
	if err := w.rest(); err != nil {
		return err
	}
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if st.Dev != parent.Dev { // of files overlayfs gives another device (stat(2))
			return nil
		}
		fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
			return nil
		case err != nil:
			return err
		}
		if err := w.tree(os.NewFile(uintptr(fd), name), depth+1); err != nil {
			return err
		}
	} else if st.Nlink == 1 || !w.links[st.Ino] {
		w.bytes += st.Blocks * 512
		if st.Nlink > 1 {
			w.links[st.Ino] = true
		}
	}
	if w.visit == nil {
		return nil
	}
	return w.visit(dir, name, &st)
}

// rest keeps the walk to half of the disk's and the processor's time.
func (w *walk) rest() error {
	if w.batch++; w.batch < walkBatch {
		return nil
	}
	timer := time.NewTimer(time.Since(w.batchAt))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
	w.batch, w.batchAt = 0, time.Now()
	return nil
}

// WithData is the host with its data in another directory, which need not be there yet.
func WithData(h units.Host, dir string) units.Host {
	h.DataRoot = dir
	there := dir
	for there != filepath.Dir(there) {
		if _, err := os.Lstat(there); err == nil {
			break
		}
		there = filepath.Dir(there)
	}
	h.ProjectQuota = !h.User && enforcesProjects(there)
	return h
}

// CheckStorage tells how storage_quota_mb is kept on the file system of the data.
func CheckStorage(h units.Host) Check {
	c := Check{Name: "storage_quota_mb", OK: h.ProjectQuota}
	if c.OK {
		c.Detail = fmt.Sprintf("the file system of %s enforces it (project quota)", h.DataRoot)
		return c
	}
	c.Detail = fmt.Sprintf("data in %s is measured each half minute, and an instance that is over it is stopped", h.DataRoot)
	c.Hint = "to have the file system enforce it, mount ext4 (mke2fs -O quota,project) or xfs with -o prjquota"
	if h.User {
		c.Hint += ", and run the daemon as root, or from its package"
	}
	return c
}
