package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
)

// From linux/quota.h, linux/dqblk_xfs.h and linux/fs.h.
const (
	prjQuota     = 2
	qGetQuota    = 0x800007
	qSetQuota    = 0x800008
	qXGetQStatV  = 'X'<<8 | 8
	pdqEnforced  = 1 << 5
	validLimits  = 1 | 4 // QIF_BLIMITS | QIF_ILIMITS
	quotaBlock   = 1024  // QIF_DQBLKSIZE
	getXAttr     = 0x801c581f
	setXAttr     = 0x401c5820
	projInherits = 0x200
)

// bytesPerInode is how many bytes of a limit allow one file. Less than a block: a limit
// of files shall only end the making of empty ones.
const bytesPerInode = 2048

// diskQuota is struct if_dqblk.
type diskQuota struct {
	blockHard, blockSoft, space  uint64
	inodeHard, inodeSoft, inodes uint64
	blockTime, inodeTime         uint64
	valid                        uint32
}

// fileAttr is struct fsxattr.
type fileAttr struct {
	flags, extentSize, extents, project, copyExtentSize uint32
	_                                                   [8]byte
}

func quotactl(f *os.File, command uint32, id int, data unsafe.Pointer) error {
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), uintptr(command<<8|prjQuota), uintptr(id), uintptr(data), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func fileAttrs(f *os.File, request uintptr, attr *fileAttr) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(attr)))
	if errno != 0 {
		return errno
	}
	return nil
}

// enforcesProjects reports whether the file system that dir is on enforces project
// quotas and this process may set them.
func enforcesProjects(dir string) bool {
	f, err := openDir(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	stat := make([]byte, 512) // struct fs_quota_statv, and room
	stat[0] = 1               // FS_QSTATV_VERSION1
	if quotactl(f, qXGetQStatV, 0, unsafe.Pointer(&stat[0])) != nil {
		return false
	}
	flags := uint16(stat[2]) | uint16(stat[3])<<8
	var q diskQuota
	return flags&pdqEnforced != 0 && quotactl(f, qGetQuota, LastUID, unsafe.Pointer(&q)) == nil
}

// project is the number of an instance's project: that of its account, whether it runs
// under that or not.
func (l *Local) project(id tenant.ID) (int, error) { return l.accounts.uid(id) }

// quotaUsage gives the bytes that the file system counts for an instance; ok is false
// where its directory, dir, has not been given its project.
func (l *Local) quotaUsage(id tenant.ID, dir *os.File) (bytes int64, ok bool, err error) {
	number, err := l.project(id)
	if err != nil {
		return 0, false, err
	}
	var attr fileAttr
	var q diskQuota
	if err := fileAttrs(dir, getXAttr, &attr); err != nil {
		return 0, false, fmt.Errorf("read project of %s: %w", dir.Name(), err)
	}
	if attr.project != uint32(number) {
		return 0, false, nil
	}
	if err := quotactl(dir, qGetQuota, number, unsafe.Pointer(&q)); err != nil {
		return 0, false, fmt.Errorf("read quota of %s: %w", dir.Name(), err)
	}
	return int64(q.space), true, nil
}

// limitStorage bounds the instance's data where the file system can do that. 0 is no
// bound.
func (l *Local) limitStorage(ctx context.Context, id tenant.ID, limit int64) error {
	if !l.host.ProjectQuota {
		return nil
	}
	dir, err := openDir(l.dataDir(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Load sets it when it makes the directory
	}
	if err != nil {
		return fmt.Errorf("limit storage of %s: %w", id, err)
	}
	defer dir.Close()
	number, err := l.project(id)
	if err != nil {
		return err
	}
	var attr fileAttr
	if err := fileAttrs(dir, getXAttr, &attr); err != nil {
		return fmt.Errorf("limit storage of %s: %w", id, err)
	}
	if own := attr.project == uint32(number) && attr.flags&projInherits != 0; !own {
		if limit == 0 {
			return nil
		}
		// What is there already must become part of the project, which fails once that is
		// full. The directory itself comes last, so that a walk cut short is begun again.
		if err := setQuota(dir, number, 0); err != nil {
			return fmt.Errorf("limit storage of %s: %w", id, err)
		}
		if err := l.makeProject(ctx, dir, number); err != nil {
			return fmt.Errorf("count data of %s: %w", id, err)
		}
	}
	if err := setQuota(dir, number, limit); err != nil {
		return fmt.Errorf("limit storage of %s: %w", id, err)
	}
	return nil
}

// makeProject gives dir and all in it to a project.
func (l *Local) makeProject(ctx context.Context, dir *os.File, number int) error {
	select {
	case l.walking <- struct{}{}:
		defer func() { <-l.walking }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	again, err := openDir(dir.Name())
	if err != nil {
		return err
	}
	w := walk{ctx: ctx, links: map[uint64]bool{}, visit: func(parent *os.File, name string, st *unix.Stat_t) error {
		kind := st.Mode & unix.S_IFMT
		if kind != unix.S_IFREG && kind != unix.S_IFDIR {
			return nil // has no data, and cannot be opened without effect
		}
		fd, err := unix.Openat(int(parent.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) {
			return nil
		}
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), filepath.Join(parent.Name(), name))
		defer f.Close()
		return joinProject(f, number)
	}}
	if err := w.tree(again, 0); err != nil {
		return err
	}
	return joinProject(dir, number)
}

// joinProject gives a file, or a directory and what will be made in it, to a project.
func joinProject(f *os.File, number int) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return nil // it was replaced meanwhile
	}
	var attr fileAttr
	if err := fileAttrs(f, getXAttr, &attr); err != nil {
		return err
	}
	attr.project = uint32(number)
	if kind == unix.S_IFDIR {
		attr.flags |= projInherits
	}
	return fileAttrs(f, setXAttr, &attr)
}

func setQuota(dir *os.File, number int, limit int64) error {
	q := diskQuota{valid: validLimits}
	if limit > 0 {
		q.blockHard = uint64(max(limit/quotaBlock, 1))
		q.inodeHard = uint64(max(limit/bytesPerInode, 64))
	}
	return quotactl(dir, qSetQuota, number, unsafe.Pointer(&q))
}
