package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// eaten is what was asked to be kept in memory.
var eaten struct {
	mu    sync.Mutex
	bytes [][]byte
}

// eat keeps mb more MiB in memory, for good.
func eat(w http.ResponseWriter, r *http.Request) {
	for range number(r, "mb") {
		page := make([]byte, 1<<20)
		for i := 0; i < len(page); i += 4096 {
			page[i] = 1
		}
		eaten.mu.Lock()
		eaten.bytes = append(eaten.bytes, page)
		eaten.mu.Unlock()
	}
	fmt.Fprintln(w, "eaten")
}

// fork starts n processes that sleep, or as many as it may, and answers how many.
func fork(w http.ResponseWriter, r *http.Request) {
	started := 0
	for range number(r, "n") {
		if exec.Command("sleep", "1000").Start() != nil {
			break
		}
		started++
	}
	fmt.Fprintln(w, started)
}

// fill writes mb MiB to path, relative to the data directory, or fails.
func fill(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Query().Get("path")
	if !filepath.IsAbs(path) {
		path = filepath.Join(os.Getenv("DATA_DIR"), path)
	}
	f, err := os.Create(path)
	if err == nil {
		_, err = io.CopyN(f, zeros{}, int64(number(r, "mb"))<<20)
	}
	if err == nil {
		err = f.Sync()
	}
	if f != nil {
		f.Close()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInsufficientStorage)
	}
}

// zeros is /dev/zero.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// leaveProject tries to take the data directory out of the project that its quota is
// for (struct fsxattr of linux/fs.h).
func leaveProject(w http.ResponseWriter, _ *http.Request) {
	f, err := os.Open(os.Getenv("DATA_DIR"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	defer f.Close()
	var attr struct {
		flags, extentSize, extents, project, copyExtentSize uint32
		_                                                   [8]byte
	}
	const get, set = 0x801c581f, 0x401c5820
	for _, request := range []uintptr{get, set} {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(&attr))); errno != 0 {
			http.Error(w, errno.Error(), http.StatusForbidden)
			return
		}
		attr.project = 0
	}
	fmt.Fprintln(w, "left")
}

// rlimits answers the soft and the hard limit of open files, and that of core dumps.
func rlimits(w http.ResponseWriter, _ *http.Request) {
	out, err := exec.Command("/bin/sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -c").Output()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(out)
}
