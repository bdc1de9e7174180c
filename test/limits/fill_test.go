package limits

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fillMemory takes the machine's memory until only so many MiB are available, and has it
// stay so, whoever gives some back, until empty is called. What it takes belongs to no
// process, and is not swapped.
func fillMemory(t *testing.T, left int) (empty func()) {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "noswap,size=100%"); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "memory"))
	if err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	// adjust takes or gives back a piece and reports whether it was enough.
	adjust := func() bool {
		switch got := available(t); {
		case got > left+2:
			step := int64(max(1, min(got-left, 64)/2)) << 20
			if err := unix.Fallocate(int(f.Fd()), 0, size, step); err != nil && !errors.Is(err, unix.EINTR) {
				t.Errorf("take %d MiB more than %d: %v; available: %d MiB", step>>20, size>>20, err, available(t))
				return true
			} else if err == nil {
				size += step
			}
			return false
		case got < left/2 && size > 0:
			size -= 1 << 20
			if err := f.Truncate(size); err != nil {
				t.Error(err)
			}
			return false
		}
		return true
	}
	for !adjust() {
	}
	stop := make(chan struct{})
	var keeping sync.WaitGroup
	keeping.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				adjust()
			case <-stop:
				return
			}
		}
	})
	empty = sync.OnceFunc(func() {
		close(stop)
		keeping.Wait()
		f.Close()
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(empty)
	return empty
}

// available is the machine's available memory in MiB.
func available(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "MemAvailable:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib / 1024
}
