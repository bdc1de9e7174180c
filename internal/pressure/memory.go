package pressure

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// someStalled is the percentage of the last ten seconds in which some work was held
	// up, from which on that counts.
	someStalled = 10.0
	// stallFor is how long a trigger's word counts.
	stallFor = 2 * time.Second
	// shortFor is for how long an answer is good: it takes reading a few files, and whoever
	// starts something asks.
	shortFor = 50 * time.Millisecond
	// plenty is the share of memory that is available while stalls do not count.
	plenty = 1.0 / 8
	// full is the share of the slice's own limit from which on its stalls count.
	full = 0.9
	// The floor is this share of memory, and at most maxFloor bytes.
	floor    = 1.0 / 32
	maxFloor = 512 << 20
	// sliceInterval is how often a slice is looked for that is not there.
	sliceInterval = 30 * time.Second
)

// Options says where to read.
type Options struct {
	// Proc is where proc(5) is mounted; empty means /proc.
	Proc string
	// Slice is the cgroup directory of all instances; empty for none. It may come
	// later.
	Slice string
	Log   *slog.Logger
}

// Memory tells whether memory is short. Make one with NewMemory.
type Memory struct {
	options Options
	stalls  chan struct{}
	// When the triggers have fired last, nil for never.
	machineStalled, sliceStalled atomic.Pointer[time.Time]
	// The last answer, and when it was found; nil where something has happened since.
	last atomic.Pointer[answer]
}

type answer struct {
	why string
	at  time.Time
}

// NewMemory makes a Memory.
func NewMemory(o Options) *Memory {
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	return &Memory{options: o, stalls: make(chan struct{}, 1)}
}

// Stalls gives a value when the kernel says that work is held up for want of memory,
// at most one a second, while Run runs.
func (m *Memory) Stalls() <-chan struct{} { return m.stalls }

// Run waits for the kernel's word until ctx ends.
func (m *Memory) Run(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error {
		if err := watch(ctx, m.machineFile(), func() { m.stalled(&m.machineStalled) }); err != nil && ctx.Err() == nil {
			m.options.Log.Info("memory pressure is not watched", "err", err)
		}
		return nil
	})
	if m.options.Slice != "" {
		group.Go(func() error { return m.watchSlice(ctx) })
	}
	return group.Wait()
}

// watchSlice watches the slice whenever it is there: it comes with the first instance.
func (m *Memory) watchSlice(ctx context.Context) error {
	timer := time.NewTicker(sliceInterval)
	defer timer.Stop()
	for {
		err := watch(ctx, filepath.Join(m.options.Slice, "memory.pressure"), func() { m.stalled(&m.sliceStalled) })
		if err != nil && !errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
			m.options.Log.Info("memory pressure of the slice is not watched", "err", err)
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

func (m *Memory) stalled(at *atomic.Pointer[time.Time]) {
	now := time.Now()
	at.Store(&now)
	m.last.Store(nil)
	select {
	case m.stalls <- struct{}{}:
	default:
	}
}

// Total is how many bytes of memory there are: the machine's, or what the slice may use
// where it, or a group that it is in, has a limit below that; 0 where nobody knows.
func (m *Memory) Total() int64 {
	text, err := os.ReadFile(filepath.Join(m.options.Proc, "meminfo"))
	if err != nil {
		return 0
	}
	total := max(meminfo(string(text), "MemTotal:"), 0)
	if m.options.Slice == "" {
		return total
	}
	// A directory that is not a group has no such files.
	for dir := m.options.Slice; ; dir = filepath.Dir(dir) {
		if limit := limitOf(dir); limit >= 0 {
			total = min(total, limit)
		}
		if dir == filepath.Dir(dir) {
			return total
		}
	}
}

// limitOf is how many bytes the group in dir may use, -1 where it may use any number.
func limitOf(dir string) int64 {
	limit := int64(-1)
	for _, name := range []string{"memory.high", "memory.max"} {
		if n := number(filepath.Join(dir, name)); n >= 0 && (limit < 0 || n < limit) {
			limit = n
		}
	}
	return limit
}

func (m *Memory) machineFile() string { return filepath.Join(m.options.Proc, "pressure/memory") }

// Short says in a few words why memory is short, and nothing where it is not.
func (m *Memory) Short() string {
	if a := m.last.Load(); a != nil && time.Since(a.at) < shortFor {
		return a.why
	}
	at := time.Now()
	why := m.look()
	m.last.Store(&answer{why, at})
	return why
}

func (m *Memory) look() string {
	if why := m.machineShort(); why != "" {
		return why
	}
	return m.sliceShort()
}

func (m *Memory) machineShort() string {
	text, err := os.ReadFile(filepath.Join(m.options.Proc, "meminfo"))
	if err != nil {
		return ""
	}
	total, available := meminfo(string(text), "MemTotal:"), meminfo(string(text), "MemAvailable:")
	if total <= 0 || available < 0 {
		return ""
	}
	if available < min(int64(float64(total)*floor), maxFloor) {
		return fmt.Sprintf("%d MiB of the machine's %d MiB of memory are available", available>>20, total>>20)
	}
	if float64(available) > float64(total)*plenty {
		return ""
	}
	if share := stall(m.machineFile(), &m.machineStalled); share >= someStalled {
		return fmt.Sprintf("work waits for memory %.0f %% of the time, and %d MiB are available", share, available>>20)
	}
	return ""
}

func (m *Memory) sliceShort() string {
	if m.options.Slice == "" {
		return ""
	}
	limit := limitOf(m.options.Slice)
	if limit < 0 || float64(number(filepath.Join(m.options.Slice, "memory.current"))) < full*float64(limit) {
		return ""
	}
	if share := stall(filepath.Join(m.options.Slice, "memory.pressure"), &m.sliceStalled); share >= someStalled {
		return fmt.Sprintf("instances wait for memory %.0f %% of the time, and the %d MiB of %s are in use", share, limit>>20, filepath.Base(m.options.Slice))
	}
	return ""
}

// stall is the percentage of time for which work is held up: what the file says of the
// last ten seconds, or what the trigger has said just now.
func stall(file string, fired *atomic.Pointer[time.Time]) float64 {
	share := 0.0
	if text, err := os.ReadFile(file); err == nil {
		share = avg10(string(text))
	}
	if at := fired.Load(); at != nil && time.Since(*at) < stallFor {
		share = max(share, triggerShare)
	}
	return share
}

// avg10 reads the line "some avg10=0.12 avg60=…".
func avg10(text string) float64 {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "some" {
			continue
		}
		value, ok := strings.CutPrefix(fields[1], "avg10=")
		if share, err := strconv.ParseFloat(value, 64); ok && err == nil {
			return share
		}
	}
	return 0
}

// meminfo gives a line's value in bytes, -1 if there is none (proc_meminfo(5)).
func meminfo(text, name string) int64 {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != name {
			continue
		}
		if kib, err := strconv.ParseInt(fields[1], 10, 53); err == nil {
			return kib << 10
		}
	}
	return -1
}

// number reads a file of the cgroup, -1 where there is none or it says "max".
func number(file string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return -1
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return -1
	}
	return n
}
