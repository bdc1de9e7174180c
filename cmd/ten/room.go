package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/keeper"
	"tenement.dev/internal/tenant"
)

// Of a disk less than a twentieth is little room, but never more than maxRoom bytes.
const maxRoom = 1 << 30

// room is what a disk has left.
type room struct {
	free, all   int64 // bytes
	files, most int64 // files that can be made, and those that there could be; most is 0 where that is not counted
}

func (r room) short() bool { return r.shortOfBytes() || r.files < min(r.most/20, maxRoom/(16<<10)) }

func (r room) shortOfBytes() bool { return r.free < min(r.all/20, maxRoom) }

func (r room) String() string {
	if r.shortOfBytes() {
		return fmt.Sprintf("%s of %s is free", tenant.FormatBytes(r.free), tenant.FormatBytes(r.all))
	}
	return fmt.Sprintf("%d of %d files can be made", r.files, r.most)
}

// roomAt looks at the file system of a directory, or of that in which it would be made.
func roomAt(dir string) (r room, id unix.Fsid, err error) {
	var fs unix.Statfs_t
	for err = unix.Statfs(dir, &fs); err == unix.ENOENT && filepath.Dir(dir) != dir; err = unix.Statfs(dir, &fs) {
		dir = filepath.Dir(dir)
	}
	return room{int64(fs.Bavail) * fs.Bsize, int64(fs.Blocks) * fs.Bsize, int64(fs.Ffree), int64(fs.Files)}, fs.Fsid, err
}

// What follows where there is little room, on a disk and in /run.
const (
	diskHint = "apps fail where they cannot write; `ten usage` tells who has how much data, `ten destroy` makes room"
	runHint  = "without room there systemd takes no units, and no instance starts that is not ready; `du -x /run` tells what is there"
)

// checkRoom is what doctor says of file systems that are nearly full: apps fail there, each in its
// own way, and nothing can be registered or started. Not ok where there is room.
func checkRoom(look func(dir string) (room, unix.Fsid, error), name, hint string, dirs ...string) (c keeper.Check, ok bool) {
	var full []string
	seen := map[unix.Fsid]bool{}
	for _, dir := range dirs {
		r, id, err := look(dir)
		if err != nil || !r.short() || id != (unix.Fsid{}) && seen[id] {
			continue
		}
		seen[id] = true
		full = append(full, fmt.Sprintf("%s: %s", dir, r))
	}
	if len(full) == 0 {
		return c, false
	}
	return keeper.Check{Name: name, Detail: strings.Join(full, ", "), Hint: hint}, true
}
