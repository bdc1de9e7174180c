package archive

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// File systems with reflinks, by their magic numbers (statfs(2), linux/magic.h).
const (
	btrfsMagic    = 0x9123683e
	xfsMagic      = 0x58465342
	bcachefsMagic = 0xca451a4e
)

// flushFrom is from what size on a file is written to the disk before it is cloned, in
// bytes: what is less takes no time.
const flushFrom = 256 << 10

// Flush has what was changed of the data in the directory dir, which it closes, written to
// the disk, where the file system has reflinks: they are made of what is on the disk, so
// that a Clone soon afterwards has little to wait for. It is no promise, and what fails is
// left to Clone.
func Flush(ctx context.Context, dir *os.File) {
	var fs unix.Statfs_t
	err := unix.Fstatfs(int(dir.Fd()), &fs)
	if kind := uint32(fs.Type); err != nil || kind != btrfsMagic && kind != xfsMagic && kind != bcachefsMagic {
		dir.Close()
		return
	}
	flush(ctx, dir, 0)
}

func flush(ctx context.Context, dir *os.File, depth int) {
	defer dir.Close()
	for depth <= MaxDepth && ctx.Err() == nil {
		names, err := dir.Readdirnames(batch)
		for _, name := range names {
			flushOne(ctx, dir, name, depth)
		}
		if err != nil {
			return
		}
	}
}

func flushOne(ctx context.Context, dir *os.File, name string, depth int) {
	var st unix.Stat_t
	if ctx.Err() != nil || unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		if sub, err := openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY); err == nil {
			flush(ctx, sub, depth+1)
		}
	case st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size >= flushFrom:
		if f, err := openAt(dir, name, unix.O_RDONLY); err == nil {
			const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
			_ = unix.SyncFileRange(int(f.Fd()), 0, 0, all)
			f.Close()
		}
	}
}
