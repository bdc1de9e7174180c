package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// topOptions are the flags of `ten top`.
type topOptions struct {
	interval time.Duration
	sort     string
	once     bool
	json     bool
}

// topOrders are the columns that `ten top` sorts by; the key of each is its first letter.
var topOrders = []string{"cpu", "memory", "requests", "wakes", "name"}

func newTopCommand(p *program) *cobra.Command {
	var o topOptions
	cmd := &cobra.Command{
		Use:   "top [SERVICE]",
		Short: "Show what instances do now, live",
		Long: `Show what instances do now: state, requests in flight and a second, CPU in percent of one
core, memory, wakes. It goes on until q is typed; c, m, r, w and n sort by CPU, memory,
requests, wakes and name. Nothing is woken or kept awake by being shown.

Where the output is no terminal, or with --once, what one interval has brought is printed
once. What is not known is "-": memory where the machine lacks cgroup v2's memory controller,
all figures of instances beyond metrics_max_instances.`,
		Example: "  ten top\n  ten top notes --sort memory\n  ten top --json --interval 5s",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return usage(cmd, "`ten top` takes one service")
			case o.interval < 100*time.Millisecond:
				return usage(cmd, "--interval must be 100ms or more")
			case !slices.Contains(topOrders, o.sort):
				return usage(cmd, "--sort takes one of "+strings.Join(topOrders, ", "))
			case len(args) == 1:
				return checkService(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.ask(func(c *client.Client) error { return p.top(cmd.Context(), c, strings.Join(args, ""), o) })
		},
	}
	flags := cmd.Flags()
	flags.DurationVar(&o.interval, "interval", 2*time.Second, "time between two looks")
	flags.StringVar(&o.sort, "sort", "cpu", "sort by `COLUMN`: "+strings.Join(topOrders, ", "))
	flags.BoolVar(&o.once, "once", false, "print it once")
	flags.BoolVar(&o.json, "json", false, "print a JSON array, once")
	return cmd
}

// look is what is seen of all instances at one moment.
type look struct {
	at       time.Time
	list     []wire.Instance
	counters map[tenant.ID]client.Counters
}

func lookAt(ctx context.Context, c *client.Client, service string) (l look, err error) {
	if l.list, err = c.List(ctx, service); err != nil {
		return l, err
	}
	l.counters, err = c.Counters(ctx)
	l.at = time.Now()
	return l, err
}

// busy is what an instance does, as `ten top --json` prints it. What is not known is
// missing.
type busy struct {
	ID         tenant.ID     `json:"id"`
	State      tenant.State  `json:"state"`
	Health     tenant.Health `json:"health,omitempty"`
	InFlight   int           `json:"in_flight"`
	PerSecond  *float64      `json:"requests_per_second,omitempty"`
	CPUPercent *float64      `json:"cpu_percent,omitempty"`
	Memory     *int64        `json:"memory,omitempty"`
	Wakes      int64         `json:"wakes"`
}

// compare says what instances did from one look to the next.
func compare(before, now look) []busy {
	seconds := now.at.Sub(before.at).Seconds()
	list := make([]busy, 0, len(now.list))
	for _, inst := range now.list {
		b := busy{ID: inst.ID, State: inst.State, Health: inst.Health, InFlight: inst.InFlight, Wakes: inst.Wakes}
		last, present := before.counters[inst.ID], now.counters[inst.ID]
		if present.Known && seconds > 0 {
			requests := max(0, present.Requests-last.Requests) / seconds
			cpu := max(0, present.CPU-last.CPU) / seconds * 100
			if !last.Known { // what it had before is not of this interval
				requests, cpu = 0, 0
			}
			b.PerSecond, b.CPUPercent = &requests, &cpu
			if present.Memory != nil {
				memory := int64(*present.Memory)
				b.Memory = &memory
			}
		}
		list = append(list, b)
	}
	return list
}

// sortBusy puts what uses most first.
func sortBusy(list []busy, by string) {
	value := func(f *float64) float64 {
		if f == nil {
			return -1
		}
		return *f
	}
	slices.SortStableFunc(list, func(a, b busy) int {
		switch by {
		case "cpu":
			return cmp.Or(cmp.Compare(value(b.CPUPercent), value(a.CPUPercent)), cmp.Compare(rank(a), rank(b)))
		case "requests":
			return cmp.Or(cmp.Compare(value(b.PerSecond), value(a.PerSecond)), cmp.Compare(rank(a), rank(b)))
		case "wakes":
			return cmp.Compare(b.Wakes, a.Wakes)
		case "memory":
			if a.Memory != nil && b.Memory != nil {
				return cmp.Compare(*b.Memory, *a.Memory)
			}
			return cmp.Compare(rank(a), rank(b))
		}
		return 0 // the API's order is that of names
	})
}

// rank puts those first that run.
func rank(b busy) int {
	switch b.State {
	case tenant.Awake, tenant.Waking, tenant.Stopping:
		return 0
	case tenant.Failed:
		return 1
	case tenant.Dozing:
		return 2
	}
	return 3
}

// top prints what instances do until q is typed or ctx ends; once where the output is no
// terminal.
func (p *program) top(ctx context.Context, c *client.Client, service string, o topOptions) error {
	before, err := lookAt(ctx, c, service)
	if err != nil {
		return err
	}
	var keys <-chan byte // nil where it is printed once
	if p.screen(p.out) != (screen{}) && !o.once && !o.json {
		var restore func()
		keys, restore = p.readKeys()
		defer restore()
	}
	if keys == nil {
		stop := p.progress("look for " + o.interval.String())
		err := wait(ctx, o.interval)
		stop()
		if err != nil {
			return err
		}
		now, err := lookAt(ctx, c, service)
		if err != nil {
			return err
		}
		list := compare(before, now)
		sortBusy(list, o.sort)
		if o.json {
			return printJSON(p.out, list)
		}
		return p.printTable(busyRows(list))
	}
	// The other screen (xterm's), so that what was there before is there afterwards.
	_, _ = io.WriteString(p.out, "\x1b[?1049h\x1b[?25l")
	defer func() { _, _ = io.WriteString(p.out, "\x1b[?25h\x1b[?1049l") }()
	tick := time.NewTicker(o.interval)
	defer tick.Stop()
	list := compare(before, before)
	for {
		sortBusy(list, o.sort)
		if _, err := io.WriteString(p.out, p.topScreen(list, o)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil // interrupting is how it ends
		case key, ok := <-keys:
			if !ok || key == 'q' {
				return nil
			}
			for _, order := range topOrders {
				if order[0] == key {
					o.sort = order
				}
			}
		case <-tick.C:
			now, err := lookAt(ctx, c, service)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			list, before = compare(before, now), now
		}
	}
}

// topScreen is what fills the terminal.
func (p *program) topScreen(list []busy, o topOptions) string {
	s := p.screen(p.out)
	count := map[tenant.State]int{}
	var perSecond, cpu float64
	var memory int64
	measured := false
	for _, b := range list {
		count[b.State]++
		if b.PerSecond != nil {
			perSecond, cpu = perSecond+*b.PerSecond, cpu+*b.CPUPercent
		}
		if b.Memory != nil {
			memory, measured = memory+*b.Memory, true
		}
	}
	total := "-"
	if measured {
		total = tenant.FormatBytes(memory)
	}
	head := fmt.Sprintf("%s: %d awake, %d dozing, %d asleep, %d failed   %.1f req/s   %.0f%% CPU   %s",
		tenant.Count(len(list), "instance", "instances"), count[tenant.Awake], count[tenant.Dozing], count[tenant.Asleep], count[tenant.Failed],
		perSecond, cpu, total)
	if rows := s.height - 4; rows > 0 && len(list) > rows {
		list = list[:rows]
	}
	if s.width > 0 {
		head = cut(head, s.width)
	}
	text := head + "\n" + s.paint(dim, cut("sorted by "+o.sort+"; c m r w n sort, q quits", max(s.width, narrowest))) + "\n" + s.lay(busyRows(list))
	// Home, each line cleared behind its text, and what is below.
	return "\x1b[H" + strings.ReplaceAll(text, "\n", "\x1b[K\r\n") + "\x1b[J"
}

func busyRows(list []busy) [][]string {
	rows := [][]string{{"INSTANCE", "STATE", "BUSY", "REQ/S", "CPU%", "MEMORY", "WAKES"}}
	for _, b := range list {
		state := b.State.String()
		if b.State == tenant.Awake && b.Health != "" && b.Health != tenant.Healthy {
			state += "," + string(b.Health)
		}
		row := []string{b.ID.String(), state, strconv.Itoa(b.InFlight), "-", "-", "-", strconv.FormatInt(b.Wakes, 10)}
		if b.PerSecond != nil {
			row[3], row[4] = fmt.Sprintf("%.1f", *b.PerSecond), fmt.Sprintf("%.1f", *b.CPUPercent)
		}
		row[5] = known(b.Memory, tenant.FormatBytes, "-")
		rows = append(rows, row)
	}
	return rows
}

// wait waits, or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// keyPoll is how often the reader of keys looks whether it is still needed.
const keyPoll = 100 * time.Millisecond

// readKeys has the terminal give keys as they are typed, without showing them, until
// restore is called; nil where nobody types.
func (p *program) readKeys() (keys <-chan byte, restore func()) {
	f, ok := p.in.(*os.File)
	if !ok {
		return nil, func() {}
	}
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, func() {}
	}
	raw := *old
	raw.Lflag &^= unix.ICANON | unix.ECHO // Ctrl-C goes on being a signal
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, func() {}
	}
	typed, done, gone := make(chan byte), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		defer close(typed)
		key := make([]byte, 1)
		for {
			select {
			case <-done:
				return
			default:
			}
			// A read could not be ended, hence it begins when there is something only.
			ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(ready, int(keyPoll.Milliseconds()))
			if n == 0 || errors.Is(err, unix.EINTR) {
				continue
			}
			if n, err := unix.Read(fd, key); n != 1 || err != nil {
				return
			}
			select {
			case typed <- key[0]:
			case <-done:
				return
			}
		}
	}()
	return typed, func() {
		close(done)
		<-gone
		_ = unix.IoctlSetTermios(fd, unix.TCSETS, old)
	}
}
