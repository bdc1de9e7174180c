package keeper

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

var eve = tenant.ID{Service: "notes", Name: "eve"}

// measurer is a Local that can measure, and eve's data directory.
func measurer(t *testing.T) (*Local, string) {
	t.Helper()
	l := &Local{view: view{host: units.Host{DataRoot: t.TempDir()}}, walking: make(chan struct{}, 1), walkTime: time.Minute}
	dir := l.dataDir(eve)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return l, dir
}

func writeFile(t *testing.T, path string, bytes int) {
	t.Helper()
	if err := os.WriteFile(path, make([]byte, bytes), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What an instance can put into its directory to be taken for less, for more, or for
// something else.
func TestMeasureHostileData(t *testing.T) {
	l, dir := measurer(t)
	outside := filepath.Join(t.TempDir(), "outside")
	writeFile(t, outside, 8<<20)
	writeFile(t, filepath.Join(dir, "one"), 1<<20)
	for i := range 50 {
		if err := os.Link(filepath.Join(dir, "one"), filepath.Join(dir, "link"+strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	sparse := filepath.Join(dir, "sparse")
	err := errors.Join(
		os.Symlink(outside, filepath.Join(dir, "file")),
		os.Symlink(filepath.Dir(outside), filepath.Join(dir, "dir")),
		os.Symlink(".", filepath.Join(dir, "loop")),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600),
		os.WriteFile(sparse, nil, 0o600),
		os.Truncate(sparse, 1<<40),
		os.MkdirAll(filepath.Join(dir, ".hidden/"+strings.Repeat("d/", 40)), 0o700),
	)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, ".hidden/"+strings.Repeat("d/", 40)+"two"), 2<<20)
	got, enforced, err := l.Measure(t.Context(), eve)
	if want := int64(3 << 20); err != nil || enforced || got < want || got > want+1<<20 {
		t.Errorf("got %d, %t, %v, want %d", got, enforced, err, want)
	}
}

func TestMeasureTooDeep(t *testing.T) {
	l, dir := measurer(t)
	// Deeper than a path may be long.
	parent, err := openDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("n", 200)
	for range maxDepth + 10 {
		if err := syscall.Mkdirat(int(parent.Fd()), name, 0o700); err != nil {
			t.Fatal(err)
		}
		fd, err := syscall.Openat(int(parent.Fd()), name, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		parent.Close()
		parent = os.NewFile(uintptr(fd), name)
	}
	parent.Close()
	_, _, err = l.Measure(t.Context(), eve)
	var e *tenant.Error
	if !errors.As(err, &e) || e.Code != tenant.CodeLimit || e.Msg == "" || e.Hint == "" {
		t.Errorf("got %v, want a sentence about directories", err)
	}
}

// A walk ends with its context, also one that waits for another.
func TestMeasureEnds(t *testing.T) {
	l, dir := measurer(t)
	for i := range 2 * walkBatch {
		writeFile(t, filepath.Join(dir, strconv.Itoa(i)), 1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := l.Measure(ctx, eve); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	l.walking <- struct{}{}
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, _, err := l.Measure(ctx, eve); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	<-l.walking
	if got, _, err := l.Measure(t.Context(), tenant.ID{Service: "notes", Name: "nobody"}); got != 0 || err != nil {
		t.Errorf("of an instance without data: got %d, %v", got, err)
	}
}

// So many files that nobody can count them are the fault of who has them; the
// next one gets its turn.
func TestMeasureTooMuch(t *testing.T) {
	l, dir := measurer(t)
	for i := range 2 * walkBatch {
		writeFile(t, filepath.Join(dir, strconv.Itoa(i)), 1)
	}
	l.walkTime = time.Nanosecond
	_, _, err := l.Measure(t.Context(), eve)
	var e *tenant.Error
	if !errors.As(err, &e) || e.Code != tenant.CodeLimit || e.Msg == "" || e.Hint == "" {
		t.Errorf("got %v, want a sentence about files", err)
	}
	l.walkTime = time.Minute
	if got, _, err := l.Measure(t.Context(), eve); err != nil || got == 0 {
		t.Errorf("with time: got %d, %v", got, err)
	}
	// Who has waited in vain is not at fault.
	l.walking <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, _, err := l.Measure(ctx, eve); !errors.Is(err, context.DeadlineExceeded) || tenant.CodeOf(err) == tenant.CodeLimit {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
}

// The check is of the directory that it names.
func TestCheckStorageElsewhere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not/there/yet")
	h := WithData(units.Host{DataRoot: "/run/x", ProjectQuota: true, User: true}, dir)
	if c := CheckStorage(h); c.OK || c.Name != "storage_quota_mb" || !strings.Contains(c.Detail, dir) || !strings.Contains(c.Hint, "as root") {
		t.Errorf("got %+v, want that a user's data in %s is measured, and that it takes root", c, dir)
	}
	if c := CheckStorage(units.Host{DataRoot: dir}); c.OK || strings.Contains(c.Hint, "as root") || !strings.Contains(c.Hint, "prjquota") {
		t.Errorf("got %+v, want a hint for who is root", c)
	}
	h = WithData(units.Host{DataRoot: "/run/x"}, dir)
	if got, want := h.ProjectQuota, enforcesProjects(filepath.Dir(filepath.Dir(filepath.Dir(dir)))); got != want || h.DataRoot != dir {
		t.Errorf("got %t for %s, want %t as for the directory that is there", got, h.DataRoot, want)
	}
}

// What a restore has kept outlives a stop that wipes, and goes with its instance; what is
// another's stays, also where the name begins alike.
func TestWipeRemovesWhatRestoresHaveKept(t *testing.T) {
	l, dir := measurer(t)
	var kept []string
	for _, name := range []string{"eve", "eve-b"} {
		id := tenant.ID{Service: eve.Service, Name: name}
		to, err := l.makeCopy(id, arrivalName)
		if err != nil {
			t.Fatal(err)
		}
		_ = to.Close()
		path, err := l.Replace(t.Context(), id, true)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, path)
	}
	want := func(step string, want ...bool) {
		t.Helper()
		for i, path := range kept {
			if _, err := os.Stat(path); (err == nil) != want[i] {
				t.Errorf("%s: got %s there %t, want %t", step, filepath.Base(path), err == nil, want[i])
			}
		}
	}
	want("after the restores", true, true)
	if err := l.Wipe(t.Context(), eve, false); err != nil {
		t.Fatal(err)
	}
	want("after a stop", true, true)
	if err := l.Wipe(t.Context(), eve, true); err != nil {
		t.Fatal(err)
	}
	want("after a destroy", false, true)
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
	if err := l.Wipe(t.Context(), eve, true); err != nil {
		t.Errorf("again: %v", err)
	}
}
