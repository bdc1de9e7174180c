package pressure

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// files writes files below a new directory.
func files(t *testing.T, text map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range text {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	calm    = "some avg10=0.12 avg60=50.00 avg300=3.15 total=2736580482\nfull avg10=99.00 avg60=0.00 avg300=0.00 total=0\n"
	stalled = "some avg10=34.56 avg60=0.00 avg300=3.15 total=2736580482\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
	// Of 8 GiB, plentiful, scarce, and next to nothing.
	plentiful = "MemTotal:        8388608 kB\nMemFree:          1000 kB\nMemAvailable:    4194304 kB\n"
	scarce    = "MemTotal:        8388608 kB\nMemFree:          1000 kB\nMemAvailable:     524288 kB\n"
	nothing   = "MemTotal:        8388608 kB\nMemFree:          1000 kB\nMemAvailable:     102400 kB\n"
)

func TestShort(t *testing.T) {
	for _, c := range []struct {
		name, meminfo, psi string
		slice              map[string]string
		want               string // in the reason; "" for not short
	}{
		{"all is well", plentiful, calm, nil, ""},
		{"somebody thrashes within its own limit", plentiful, stalled, nil, ""},
		{"little left, and nobody suffers", scarce, calm, nil, ""},
		{"little left, and stalls", scarce, stalled, nil, "35 % of the time, and 512 MiB"},
		{"next to nothing left", nothing, calm, nil, "100 MiB of the machine's 8192 MiB"},
		{"no PSI", scarce, "", nil, ""},
		{"unreadable", "x", "x", nil, ""},
		{"a slice without a limit", plentiful, calm, map[string]string{
			"memory.max": "max\n", "memory.high": "max\n", "memory.current": "4294967296\n", "memory.pressure": stalled}, ""},
		{"a slice below its limit", plentiful, calm, map[string]string{
			"memory.max": "4294967296\n", "memory.high": "max\n", "memory.current": "2147483648\n", "memory.pressure": stalled}, ""},
		{"a slice at its limit that does not suffer", plentiful, calm, map[string]string{
			"memory.max": "4294967296\n", "memory.high": "max\n", "memory.current": "4294967296\n", "memory.pressure": calm}, ""},
		{"a slice at its limit", plentiful, calm, map[string]string{
			"memory.max": "4294967296\n", "memory.high": "max\n", "memory.current": "4294967296\n", "memory.pressure": stalled}, "the 4096 MiB of"},
		{"a slice at its lower limit", plentiful, calm, map[string]string{
			"memory.max": "4294967296\n", "memory.high": "1073741824\n", "memory.current": "1073741824\n", "memory.pressure": stalled}, "the 1024 MiB of"},
	} {
		proc := map[string]string{"meminfo": c.meminfo}
		if c.psi != "" {
			proc["pressure/memory"] = c.psi
		}
		o := Options{Proc: files(t, proc), Log: slog.New(slog.DiscardHandler)}
		if c.slice != nil {
			o.Slice = files(t, c.slice)
		}
		got := NewMemory(o).Short()
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q in it", c.name, got, c.want)
		}
	}
}

func TestTotal(t *testing.T) {
	const machine, gib = 8 << 30, 1 << 30
	for _, c := range []struct {
		name, meminfo string
		groups        map[string]string
		want          int64
	}{
		{"no limit", plentiful, nil, machine},
		{"nobody knows", "x", nil, 0},
		{"a slice without one", plentiful, map[string]string{"a/b/memory.max": "max\n", "a/b/memory.high": "max\n"}, machine},
		{"a slice with one", plentiful, map[string]string{"a/b/memory.max": "1073741824\n", "a/b/memory.high": "max\n"}, gib},
		{"a slice that is not there yet, in a container", plentiful, map[string]string{"a/memory.max": "1073741824\n"}, gib},
		{"the lowest of all", plentiful, map[string]string{"a/b/memory.high": "2147483648\n", "a/memory.max": "1073741824\n"}, gib},
		{"a limit beyond the machine", plentiful, map[string]string{"a/b/memory.max": "99999999999\n"}, machine},
	} {
		root := files(t, c.groups)
		m := NewMemory(Options{Proc: files(t, map[string]string{"meminfo": c.meminfo}), Slice: filepath.Join(root, "a/b")})
		if got := m.Total(); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

// A trigger's word counts for a while, before the average of ten seconds has risen.
func TestTriggerCounts(t *testing.T) {
	m := NewMemory(Options{Proc: files(t, map[string]string{"meminfo": scarce, "pressure/memory": calm})})
	m.stalled(&m.machineStalled)
	if got := m.Short(); !strings.Contains(got, "15 % of the time") {
		t.Errorf("got %q, want it short", got)
	}
	select {
	case <-m.Stalls():
	default:
		t.Error("nobody was told")
	}
	before := time.Now().Add(-stallFor)
	m.machineStalled.Store(&before)
	m.last.Store(nil)
	if got := m.Short(); got != "" {
		t.Errorf("%v later: got %q, want nothing", stallFor, got)
	}
}

// An answer is good for a moment, or until the kernel says that something has changed.
func TestShortIsKept(t *testing.T) {
	o := Options{Proc: files(t, map[string]string{"meminfo": plentiful, "pressure/memory": calm})}
	meminfo := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(o.Proc, "meminfo"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := NewMemory(o)
	if got := m.Short(); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
	meminfo(nothing)
	m.last.Store(&answer{at: time.Now().Add(time.Hour)})
	if got := m.Short(); got != "" {
		t.Errorf("at once: got %q, want what was said before", got)
	}
	m.last.Store(&answer{at: time.Now().Add(-shortFor)})
	if got := m.Short(); got == "" {
		t.Errorf("%v later: got nothing, want it short", shortFor)
	}
	m.last.Store(&answer{at: time.Now().Add(time.Hour)})
	m.stalled(&m.machineStalled)
	if got := m.Short(); got == "" {
		t.Error("after a trigger: got nothing, want it short")
	}
}

// The kernel's own: a trigger is granted, waits, and ends with its context.
func TestRunEnds(t *testing.T) {
	if ok, detail := Check(); !ok {
		t.Fatalf("this kernel has no PSI: %s", detail)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := NewMemory(Options{Slice: filepath.Join(t.TempDir(), "none"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	time.AfterFunc(20*time.Millisecond, cancel)
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not end")
	}
}

// Memory stalls cannot be had on a test's machine, processor stalls can: the trigger is
// the same code of ours and of the kernel's.
func TestTriggerFires(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	const work = 8
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + work))
	for range runtime.NumCPU() + work { // more threads that want to run than processors
		go func() {
			for n := 0; ctx.Err() == nil; n++ {
			}
		}()
	}
	fired := 0
	err := watch(ctx, "/proc/pressure/cpu", func() {
		fired++
		cancel()
	})
	if err != nil || fired != 1 {
		t.Errorf("got %d events, %v, want one", fired, err)
	}
}

func TestWatchOfWhatIsNotThere(t *testing.T) {
	if err := watch(t.Context(), filepath.Join(t.TempDir(), "none"), func() {}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that it does not exist", err)
	}
}

func TestIdle(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := NewCPU(dir)
	for _, step := range []struct {
		text string
		want float64
	}{
		{"cpu  100 0 0 100 0 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1\n", 0.5},
		{"cpu  125 0 0 175 0 0 0 0 0 0\n", 0.75},
		{"cpu  125 0 0 185 30 0 0 0 0 0\n", 0.25}, // waiting for a disk is no idleness
		{"cpu  125 0 0 185 30 0 0 0 0 0\n", 0},    // no time has passed
		{"cpu  225 0 0 180 30 0 0 0 0 0\n", 0},    // it has been seen to go backwards
		{"x", 0},
		{"", 0},
	} {
		write(step.text)
		if got := c.Idle(); got != step.want {
			t.Errorf("%q: got %v, want %v", step.text, got, step.want)
		}
	}
	if real := NewCPU(""); real.Idle() < 0 || real.total == 0 {
		t.Error("this machine's /proc/stat was not understood")
	}
}
