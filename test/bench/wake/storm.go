package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tenement.dev/test/bench/platform"
)

const (
	// stormGoal is how many times as long as the bare starts alone would take on all
	// processors a storm may take.
	stormGoal = 1.3
	// warmGoal is how many times its quiet p99 the p99 of a warm tenant may be meanwhile.
	warmGoal = 5.0

	// stormRounds is how many storms there are of each kind; the one in the middle is told.
	stormRounds = 3
	// stormBares is how often a bare start is timed before each storm, and after it.
	stormBares   = 8
	stormTimeout = 3 * time.Minute
	// armTimeout is for how long another one must not have been armed until it is taken for
	// granted that no more will be.
	armTimeout = 20 * time.Second
	// warmPause is the pause between two requests to the warm tenant, and warmQuiet for
	// how long it is asked while nothing else happens.
	warmPause = 20 * time.Millisecond
	warmQuiet = 5 * time.Second
)

// storm is what was measured of one.
type storm struct {
	cores     int
	isolation string
	arms      bool // as many as the machine's memory suggests
	armed     int
	tenants   int
	answered  int
	bare      float64 // ms, the median of before and after
	total     float64 // ms until the last answer
	alone     float64 // ms of as many bare starts, one per processor at a time: the mean of before and after
	cpu       string  // processor time per tenant
	bareCPU   string
	phases    map[string]float64
	quiet     []float64 // ms of the warm tenant's answers
	during    []float64
	memory    [2]int64   // KiB of the daemon: before, and at most
	waiting   int64      // KiB of all armed tenants together
	reload    [2]float64 // ms of a daemon-reload: before the tenants were there, and with all armed
	all       []float64  // the ratio of each round, from low to high
}

// storming is what the rounds have in common.
type storming struct {
	daemon *daemon
	python app
	dir    string
	names  []string
}

// runStorm has n sleeping tenants get a request each at once, under each of some
// isolations, with as many armed as by default and with none, and prints what that took.
func runStorm(ctx context.Context, repo string, n int, isolations []string) (err error) {
	hardware, err := describeMachine(ctx)
	if err != nil {
		return err
	}
	var storms []*storm
	for _, isolation := range isolations {
		for _, arms := range []bool{true, false} {
			s, err := someStorms(ctx, repo, storm{cores: hardware.Cores, isolation: isolation, arms: arms, tenants: n})
			if err != nil {
				return err
			}
			s.print()
			storms = append(storms, s)
		}
	}
	hardware.LoadAfter = platform.Load()
	fmt.Printf("\n%s\n\n%s", hardware, stormSection(hardware, storms))
	return nil
}

// someStorms makes the rounds of one kind and gives the one in the middle.
func someStorms(ctx context.Context, repo string, kind storm) (_ *storm, err error) {
	dir, err := makeDir()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir), os.RemoveAll(runtimeDir)) }()
	apps, err := installApps(repo, dir)
	if err != nil {
		return nil, err
	}
	of := storming{python: apps[0], dir: dir}
	var config strings.Builder
	fmt.Fprintf(&config, "[settings]\ndata_dir = %q\n", filepath.Join(dir, "data"))
	if !kind.arms {
		config.WriteString("armed = 0\n")
	}
	for _, service := range []string{"storm", "warm"} {
		// Many gVisors at once take a while.
		fmt.Fprintf(&config, "[service.%s]\ncommand = [%q, %q]\nisolation = %q\non_demand = true\nmax_instances = 10000\nstartup_timeout = 60\n",
			service, of.python.argv[0], of.python.argv[1], kind.isolation)
	}
	if kind.reload[0], err = reload(ctx); err != nil {
		return nil, err
	}
	d, err := startDaemon(ctx, repo, dir, config.String(), daemonPort)
	if err != nil {
		return nil, err
	}
	of.daemon = d
	for i := range kind.tenants {
		of.names = append(of.names, "storm:t"+strconv.Itoa(i))
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), stormTimeout)
		defer cancel()
		_, derr := d.runFor(ctx, stormTimeout, append([]string{"destroy", "--yes", "warm:w"}, of.names...)...)
		if err = errors.Join(err, derr, d.end()); err != nil {
			err = fmt.Errorf("%w\nthe daemon's last words:\n%s", err, d.lastWords())
		}
	}()
	// The first requests create them; that is not the storm.
	if _, _, err := d.askAll(ctx, append([]string{"warm:w"}, of.names...)); err != nil {
		return nil, err
	}
	var rounds []*storm
	for range stormRounds {
		s, err := of.round(ctx, kind)
		if err != nil {
			return nil, err
		}
		fmt.Printf("isolation %s, %s: %.2f × the formula, %.2f × as many bare starts\n", s.isolation, s.how(), s.ratio(), s.total/s.alone)
		rounds = append(rounds, s)
	}
	return middle(rounds), nil
}

// middle gives the storm whose ratio is the median, with those of all.
func middle(rounds []*storm) *storm {
	slices.SortFunc(rounds, func(a, b *storm) int { return cmp.Compare(a.ratio(), b.ratio()) })
	s := rounds[len(rounds)/2]
	for _, r := range rounds {
		s.all = append(s.all, r.ratio())
	}
	return s
}

// round has all fall asleep and makes one storm, with bare starts before and after.
func (of storming) round(ctx context.Context, kind storm) (_ *storm, err error) {
	s, d := &kind, of.daemon
	if _, err := d.runFor(ctx, stormTimeout, append([]string{"stop"}, of.names...)...); err != nil {
		return nil, err
	}
	if s.arms {
		if s.armed, err = d.awaitArmed(ctx, s.tenants); err != nil {
			return nil, err
		}
		if s.reload[1], err = reload(ctx); err != nil {
			return nil, err
		}
	}
	bares, err := of.bares(ctx)
	if err != nil {
		return nil, err
	}
	before := readCPUTime(d.cmd.Process.Pid)
	alone, err := of.python.startMany(ctx, of.dir, s.tenants)
	if err != nil {
		return nil, err
	}
	s.bareCPU = readCPUTime(d.cmd.Process.Pid).perTenant(before, s.tenants)
	quiet, cancel := context.WithTimeout(ctx, warmQuiet)
	s.quiet, err = d.askAgain(quiet, "warm:w")
	cancel()
	if err != nil {
		return nil, err
	}
	if s.memory[0], err = d.memory("VmRSS:"); err != nil {
		return nil, err
	}
	if s.armed > 0 {
		if s.waiting, err = proportional("tenement.slice/tenement-storm@*.service/*"); err != nil {
			return nil, err
		}
	}

	stormy, over := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var warmErr error
	wg.Go(func() { s.during, warmErr = d.askAgain(stormy, "warm:w") })
	before = readCPUTime(d.cmd.Process.Pid)
	begun := time.Now()
	s.answered, s.phases, err = d.askAll(ctx, of.names)
	s.total = milliseconds(time.Since(begun))
	s.cpu = readCPUTime(d.cmd.Process.Pid).perTenant(before, s.tenants)
	over()
	wg.Wait()
	if s.memory[1], _ = d.memory("VmHWM:"); err != nil || warmErr != nil {
		return nil, errors.Join(err, warmErr)
	}
	again, err := of.python.startMany(ctx, of.dir, s.tenants)
	if err != nil {
		return nil, err
	}
	s.alone = (alone + again) / 2
	after, err := of.bares(ctx)
	s.bare = percentile(append(bares, after...), 50)
	return s, err
}

// bares gives the milliseconds of some bare starts, one after the other.
func (of storming) bares(ctx context.Context) (all []float64, err error) {
	for range stormBares {
		if err := settle(ctx); err != nil {
			return nil, err
		}
		took, err := of.python.startBare(ctx, of.dir, barePort)
		if err != nil {
			return nil, err
		}
		all = append(all, milliseconds(took))
	}
	return all, nil
}

// reload gives the milliseconds of a daemon-reload (systemctl(1)).
func reload(ctx context.Context) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	begun := time.Now()
	out, err := exec.CommandContext(ctx, "systemctl", "daemon-reload").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("systemctl daemon-reload: %w: %s", err, out)
	}
	return milliseconds(time.Since(begun)), nil
}

// startMany makes n bare starts, one per processor at a time, and gives the
// milliseconds that they took together.
func (a app) startMany(ctx context.Context, dir string, n int) (float64, error) {
	begun := time.Now()
	var group errgroup.Group
	for worker := range runtime.NumCPU() {
		group.Go(func() error {
			for i := worker; i < n; i += runtime.NumCPU() {
				if _, err := a.startBare(ctx, dir, barePort+worker); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return milliseconds(time.Since(begun)), err
}

// askAll makes one request to each instance, all at once. It gives how many were
// answered with 200, and the mean of each phase.
func (d *daemon) askAll(ctx context.Context, ids []string) (answered int, phases map[string]float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, stormTimeout)
	defer cancel()
	var mu sync.Mutex
	var errs []error
	phases = map[string]float64{}
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			a, err := d.askOnce(ctx, id, stormTimeout)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			answered++
			if _, ms, err := parseTiming(a.header.Get("Server-Timing")); err == nil {
				for phase, ms := range ms {
					phases[phase] += ms / float64(len(ids))
				}
			}
		})
	}
	wg.Wait()
	if len(errs) > 0 {
		return answered, phases, fmt.Errorf("%d of %d were not answered: %w", len(errs), len(ids), errs[0])
	}
	return answered, phases, nil
}

// askOnce makes a request on a connection of its own.
func (d *daemon) askOnce(ctx context.Context, id string, timeout time.Duration) (answer, error) {
	service, name, _ := strings.Cut(id, ":")
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return answer{}, err
	}
	return askFor(ctx, conn, name+"."+service+"."+domain, "/", timeout)
}

// askAgain makes requests until ctx ends and gives the milliseconds of each.
func (d *daemon) askAgain(ctx context.Context, id string) (took []float64, err error) {
	tick := time.NewTicker(warmPause)
	defer tick.Stop()
	for {
		begun := time.Now()
		a, err := d.askOnce(context.WithoutCancel(ctx), id, stepTimeout)
		if err != nil {
			return took, err
		}
		took = append(took, milliseconds(a.firstByte.Sub(begun)))
		select {
		case <-ctx.Done():
			return took, nil
		case <-tick.C:
		}
	}
}

// memory reads a line of the daemon's proc_pid_status(5), in KiB.
func (d *daemon) memory(name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == name {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("no %s in the daemon's status", name)
}
