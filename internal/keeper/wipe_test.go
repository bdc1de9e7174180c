package keeper

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nest makes n directories below each other, in dir.
func nest(t *testing.T, dir string, n int) {
	t.Helper()
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	for range n {
		if err != nil {
			t.Fatal(err)
		}
		var next int
		if err = unix.Mkdirat(at, "d", 0o700); err == nil {
			next, err = unix.Openat(at, "d", unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		}
		unix.Close(at)
		at = next
	}
	if err == nil {
		err = unix.Mknodat(at, "file", unix.S_IFREG|0o600, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(at)
}

// However an instance has made its directories, they can be removed, and nothing else is.
func TestWipeHostileData(t *testing.T) {
	l, dir := measurer(t)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := errors.Join(
		os.MkdirAll(filepath.Join(outside, "kept"), 0o700),
		os.Symlink(outside, filepath.Join(dir, "link")),
		os.Symlink(filepath.Join(outside, "kept"), filepath.Join(dir, "linked")),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600),
		os.MkdirAll(filepath.Join(dir, "closed/in"), 0o700),
		os.Chmod(filepath.Join(dir, "closed/in"), 0),
		os.Chmod(filepath.Join(dir, "closed"), 0o100),
	); err != nil {
		t.Fatal(err)
	}
	for i := range 2 * walkBatch {
		writeFile(t, filepath.Join(dir, "file"+strings.Repeat("x", i%200)+string(rune('a'+i%26))+string(rune('a'+i/26%26))), 0)
	}
	nest(t, dir, 5000)
	second := filepath.Join(dir, "second")
	if err := os.Mkdir(second, 0o700); err != nil {
		t.Fatal(err)
	}
	nest(t, second, 3*maxDepth)

	// No more descriptors than its bound.
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: 1000, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	err := l.Wipe(t.Context(), eve, true)
	if rerr := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); rerr != nil {
		t.Fatal(rerr)
	}
	if err != nil {
		t.Errorf("wipe: %.200v", err)
	}
	if exists(dir) {
		t.Error("its directory is still there")
	}
	if !exists(filepath.Join(outside, "kept")) {
		t.Error("what a link led to is gone")
	}
	if err := l.Wipe(t.Context(), eve, true); err != nil {
		t.Errorf("wipe what is gone: %v", err)
	}
}
