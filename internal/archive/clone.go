package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
)

// MaxDepth bounds how deep directories may be nested, and maxEntries how many names an
// archive may have.
const (
	MaxDepth   = 128
	maxEntries = 20_000_000
	batch      = 512
	chunk      = 1 << 20
)

// Clone copies the data in the directory from into the empty directory to, with shared
// blocks where the file system has that (ioctl_ficlone(2)). Sockets, pipes, devices and
// what is mounted there stay behind. Data that cannot be copied is a *tenant.Error with
// CodeLimit, also where that would fill the disk.
func Clone(ctx context.Context, from, to *os.File) (tenant.DataSize, error) {
	c := cloner{ctx: ctx, root: to, links: map[inode]string{}, size: tenant.DataSize{Shared: true}}
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return c.size, err
	}
	err := c.dir(from, to, &st, "", 0)
	c.size.Shared = c.size.Shared && c.size.Files > 0
	if err == nil && c.size.Bytes > holeShare*c.stored+freeHoles {
		err = c.hollow()
	}
	return c.size, err
}

// hollow is the error of data that is holes rather than bytes.
func (c *cloner) hollow() error {
	return &tenant.Error{
		Code: tenant.CodeLimit, Op: "copy data",
		Msg: fmt.Sprintf("the data has files of %s of which %s are there, the rest is holes: an archive would have them all",
			tenant.FormatBytes(c.size.Bytes), tenant.FormatBytes(c.stored)),
		Hint: "make the sparse files smaller",
	}
}

// Files may be freeHoles larger than what is stored of them, and holeShare times that. No
// disk has maxBytes, and a sum of more might come to a small number.
const (
	holeShare = 16
	freeHoles = 1 << 30
	maxBytes  = 1 << 60
)

type inode struct{ dev, ino uint64 }

// cloner is one Clone at work.
type cloner struct {
	ctx  context.Context
	root *os.File
	size tenant.DataSize
	// stored is what its files have on the disk.
	stored int64
	// links has the copies of files with several names.
	links map[inode]string
	buf   []byte
}

// dir copies what is in src, whose path is that of dst below the root.
func (c *cloner) dir(src, dst *os.File, st *unix.Stat_t, at string, depth int) error {
	for {
		names, err := src.Readdirnames(batch)
		for _, name := range names {
			if err := c.entry(src, dst, st, name, path.Join(at, name), depth); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || gone(err) {
			break
		}
		if err != nil {
			return err
		}
	}
	return finish(dst, st)
}

// finish gives a copy the mode and the times of what it is of.
func finish(f *os.File, st *unix.Stat_t) error {
	if err := f.Chmod(fs.FileMode(st.Mode & 0o777)); err != nil {
		return err
	}
	return setTime(int(f.Fd()), "", st.Mtim)
}

// setTime sets when an open file, or a name in an open directory, has been changed.
func setTime(fd int, name string, at unix.Timespec) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, at}
	if name == "" {
		return unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH)
	}
	return unix.UtimesNanoAt(fd, name, times, unix.AT_SYMLINK_NOFOLLOW)
}

func (c *cloner) entry(src, dst *os.File, parent *unix.Stat_t, name, at string, depth int) error {
	if err := context.Cause(c.ctx); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(src.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); gone(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("look at %s: %w", at, err)
	}
	if c.size.Files+c.size.Others >= maxEntries {
		return &tenant.Error{Code: tenant.CodeLimit, Op: "copy data", Msg: fmt.Sprintf("the data has more than %d files", maxEntries), Hint: "remove some of them"}
	}
	err := restorable(at, depth)
	if err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		err = c.subdir(src, dst, parent, name, at, depth)
	case unix.S_IFREG:
		err = c.file(src, dst, name, at)
	case unix.S_IFLNK:
		err = c.link(src, dst, &st, name, at)
	default:
		c.size.Skipped++
	}
	var known *fs.PathError // by a directory further down
	if err != nil && !errors.As(err, &known) {
		return &fs.PathError{Op: "copy", Path: at, Err: err}
	}
	return err
}

// restorable refuses names that Unpack would not take: what cannot come back is no backup.
func restorable(at string, depth int) error {
	e := &tenant.Error{Code: tenant.CodeLimit, Op: "copy data", Hint: "remove or rename them"}
	switch {
	case depth >= MaxDepth:
		e.Msg = fmt.Sprintf("the data has directories nested deeper than %d", MaxDepth)
	case len(at) > maxName:
		e.Msg = fmt.Sprintf("the data has paths longer than %d bytes, such as %.100q...", maxName, at)
	default:
		return nil
	}
	return e
}

// gone reports whether what was there a moment ago has been removed, or replaced by
// something else: there is nothing then that could be copied as it was.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENXIO)
}

func (c *cloner) subdir(src, dst *os.File, parent *unix.Stat_t, name, at string, depth int) error {
	from, err := openAt(src, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return err
	}
	if st.Dev != parent.Dev {
		c.size.Skipped++ // mounted there
		return nil
	}
	if err := unix.Mkdirat(int(dst.Fd()), name, 0o700); err != nil {
		return err
	}
	to, err := openAt(dst, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer to.Close()
	c.size.Others++
	return c.dir(from, to, &st, at, depth+1)
}

// openAt opens name in dir itself, not what a link leads to, without an effect on pipes
// and devices.
func openAt(dir *os.File, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (c *cloner) link(src, dst *os.File, st *unix.Stat_t, name, at string) error {
	to, err := readLink(src, name)
	if gone(err) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(to, int(dst.Fd()), name); err != nil {
		return err
	}
	if leadsOut(at, to) {
		c.size.Outside++
	}
	c.size.Others++
	return setTime(int(dst.Fd()), name, st.Mtim)
}

func readLink(dir *os.File, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(dir.Fd()), name, buf)
	return string(buf[:max(n, 0)]), err
}

// leadsOut reports whether a link at a path below the data, that says to, leads out of
// it, or may by way of others. at has no slash at its beginning.
func leadsOut(at, to string) bool {
	if path.IsAbs(to) {
		return true
	}
	depth := strings.Count(at, "/")
	for part := range strings.SplitSeq(to, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

func (c *cloner) file(src, dst *os.File, name, at string) error {
	from, err := openAt(src, name, unix.O_RDONLY)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		c.size.Skipped++
		return nil
	}
	key := inode{st.Dev, st.Ino}
	if first, ok := c.links[key]; ok && st.Nlink > 1 {
		c.size.Others++
		return unix.Linkat(int(c.root.Fd()), first, int(dst.Fd()), name, 0) // all of it is our own making
	}
	to, err := openAt(dst, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := c.content(from, to, st.Size); err != nil {
		return err
	}
	if st.Nlink > 1 {
		c.links[key] = at
	}
	c.size.Files++
	c.size.Bytes += min(st.Size, maxBytes)
	c.stored += st.Blocks * 512
	if c.size.Bytes >= maxBytes {
		return c.hollow()
	}
	if err := finish(to, &st); err != nil {
		return err
	}
	return to.Close()
}

// content copies size bytes, holes as holes.
func (c *cloner) content(from, to *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	if err := unix.IoctlFileClone(int(to.Fd()), int(from.Fd())); err == nil {
		return to.Truncate(size) // also where it has grown since
	}
	c.size.Shared = false
	if err := to.Truncate(size); err != nil {
		return err
	}
	for at := int64(0); at < size; {
		begin, err := unix.Seek(int(from.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // a hole up to the end
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(int(from.Fd()), begin, unix.SEEK_HOLE)
		if err != nil && !errors.Is(err, unix.ENXIO) {
			return err
		}
		if at, err = c.extent(from, to, begin, min(end, size)); err != nil {
			return err
		}
	}
	return nil
}

// extent copies the bytes from begin to end, and gives how far there were any.
func (c *cloner) extent(from, to *os.File, begin, end int64) (int64, error) {
	if end <= begin {
		return 1<<63 - 1, nil // it is shorter now
	}
	if err := roomFor(to, end-begin); err != nil {
		return 0, err
	}
	if c.buf == nil {
		c.buf = make([]byte, chunk)
	}
	for begin < end {
		if err := context.Cause(c.ctx); err != nil {
			return 0, err
		}
		n, err := from.ReadAt(c.buf[:min(end-begin, chunk)], begin)
		if n > 0 {
			if _, werr := to.WriteAt(c.buf[:n], begin); werr != nil {
				return 0, werr
			}
			begin += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return 1<<63 - 1, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return end, nil
}

// minReserve and maxReserve bound what is left free on the disk, which is otherwise a
// twentieth of it: others write there, too.
const (
	minReserve = 16 << 20
	maxReserve = 1 << 30
)

// roomFor is an error for people where a file system has not so many bytes to spare.
func roomFor(f *os.File, bytes int64) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return err
	}
	free, all := int64(fs.Bavail)*fs.Bsize, int64(fs.Blocks)*fs.Bsize
	if all == 0 || bytes <= free-min(max(all/20, minReserve), maxReserve) {
		return nil
	}
	return &tenant.Error{
		Code: tenant.CodeLimit, Op: "copy data",
		Msg:  fmt.Sprintf("the disk has %s free, which is too little for a copy of the data", tenant.FormatBytes(free)),
		Hint: "make room on the file system of data_dir; one with reflinks (btrfs, xfs) needs hardly any",
	}
}
