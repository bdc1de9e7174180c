package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// stormGoal is how many times as long as the bare starts alone would take on all
	// processors a storm may take.
	stormGoal = 1.3
	// warmGoal is how many times its quiet p99 the p99 of a warm tenant may be meanwhile.
	warmGoal = 5.0

	stormBares   = 15
	stormTimeout = 3 * time.Minute
	armTimeout   = 3 * time.Minute
	// warmPause is the pause between two requests to the warm tenant, and warmQuiet for
	// how long it is asked while nothing else happens.
	warmPause = 20 * time.Millisecond
	warmQuiet = 5 * time.Second
)

// storm is what was measured of one.
type storm struct {
	isolation string
	armed     bool
	tenants   int
	answered  int
	bare      float64 // ms, the median
	total     float64 // ms until the last answer
	alone     float64 // ms of as many bare starts, one per processor at a time
	cpu       string  // processor time per tenant
	bareCPU   string
	phases    map[string]float64
	quiet     []float64 // ms of the warm tenant's answers
	during    []float64
	memory    [2]int64 // KiB of the daemon: before, and at most
	waiting   int64    // KiB of all armed tenants together
}

// runStorm has n sleeping tenants get a request each at once, under each of some
// isolations, armed and not, and prints what that took.
func runStorm(ctx context.Context, repo string, n int, isolations []string) (err error) {
	hardware, err := describeMachine(ctx)
	if err != nil {
		return err
	}
	for _, isolation := range isolations {
		for _, armed := range []bool{false, true} {
			s, err := oneStorm(ctx, repo, isolation, n, armed)
			if err != nil {
				return err
			}
			s.print(hardware.Cores)
		}
	}
	if hardware.LoadAfter, err = loadAverage(); err != nil {
		return err
	}
	fmt.Printf("\n%s\n", hardware)
	return nil
}

func oneStorm(ctx context.Context, repo, isolation string, n int, armed bool) (_ *storm, err error) {
	dir, err := makeDir()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir), os.RemoveAll(runtimeDir)) }()
	apps, err := installApps(repo, dir)
	if err != nil {
		return nil, err
	}
	python := apps[0]
	var config strings.Builder
	keep := 0
	if armed {
		keep = n
	}
	fmt.Fprintf(&config, "[settings]\ndata_dir = %q\narmed = %d\n", filepath.Join(dir, "data"), keep)
	for _, service := range []string{"storm", "warm"} {
		// Many gVisors at once take a while.
		fmt.Fprintf(&config, "[service.%s]\ncommand = [%q, %q]\nisolation = %q\non_demand = true\nmax_instances = 10000\nstartup_timeout = 60\n",
			service, python.argv[0], python.argv[1], isolation)
	}
	d, err := startDaemon(ctx, repo, dir, config.String(), daemonPort)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range n {
		names = append(names, "storm:t"+strconv.Itoa(i))
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), stormTimeout)
		defer cancel()
		_, derr := d.runFor(ctx, stormTimeout, append([]string{"destroy", "--yes", "warm:w"}, names...)...)
		if err = errors.Join(err, derr, d.end()); err != nil {
			err = fmt.Errorf("%w\nthe daemon's last words:\n%s", err, d.lastWords())
		}
	}()
	s := &storm{isolation: isolation, armed: armed, tenants: n}
	// The first requests create them; that is not the storm.
	if _, _, err := d.askAll(ctx, append([]string{"warm:w"}, names...)); err != nil {
		return nil, err
	}
	if _, err := d.runFor(ctx, stormTimeout, append([]string{"stop"}, names...)...); err != nil {
		return nil, err
	}
	var bares []float64
	for range stormBares {
		if err := settle(ctx); err != nil {
			return nil, err
		}
		took, err := python.startBare(ctx, dir, barePort)
		if err != nil {
			return nil, err
		}
		bares = append(bares, milliseconds(took))
	}
	s.bare = percentile(bares, 50)
	before := readCPUTime(d.cmd.Process.Pid)
	if s.alone, err = python.startMany(ctx, dir, n); err != nil {
		return nil, err
	}
	s.bareCPU = readCPUTime(d.cmd.Process.Pid).perTenant(before, n)
	if armed {
		if err := d.awaitArmed(ctx, n); err != nil {
			return nil, err
		}
	}
	quiet, cancel := context.WithTimeout(ctx, warmQuiet)
	s.quiet, err = d.askAgain(quiet, "warm:w")
	cancel()
	if err != nil {
		return nil, err
	}
	if s.memory[0], err = d.memory("VmRSS:"); err != nil {
		return nil, err
	}
	if armed {
		if s.waiting, err = proportional("tenement.slice/tenement-storm@*.service/*"); err != nil {
			return nil, err
		}
	}

	storming, over := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var warmErr error
	wg.Go(func() { s.during, warmErr = d.askAgain(storming, "warm:w") })
	before = readCPUTime(d.cmd.Process.Pid)
	begun := time.Now()
	s.answered, s.phases, err = d.askAll(ctx, names)
	s.total = milliseconds(time.Since(begun))
	s.cpu = readCPUTime(d.cmd.Process.Pid).perTenant(before, n)
	over()
	wg.Wait()
	if s.memory[1], _ = d.memory("VmHWM:"); err != nil || warmErr != nil {
		return nil, errors.Join(err, warmErr)
	}
	return s, nil
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

// ratio is the storm's time, in times of what the bare starts would take on so many
// processors.
func (s *storm) ratio(cores int) float64 {
	return s.total / (float64(s.tenants) * s.bare / float64(cores))
}

func (s *storm) print(cores int) {
	verdict := func(value, goal float64) string {
		if value <= goal {
			return "met"
		}
		return "missed"
	}
	how := "not armed"
	if s.armed {
		how = "armed"
	}
	fmt.Printf("\nisolation %s, %s: %d of %d answered in %.0f ms; a bare start takes %.1f ms\n", s.isolation, how, s.answered, s.tenants, s.total, s.bare)
	fmt.Printf("  %.2f × (%d × bare ÷ %d), goal %.1f: %s\n", s.ratio(cores), s.tenants, cores, stormGoal, verdict(s.ratio(cores), stormGoal))
	fmt.Printf("  as many bare starts, one per processor at a time: %.0f ms; the storm is %.2f × that\n", s.alone, s.total/s.alone)
	fmt.Printf("  processor ms per tenant: %s\n  processor ms per bare start: %s\n", s.cpu, s.bareCPU)
	fmt.Printf("  mean ms by phase:")
	for _, phase := range slices.Concat(phases[:len(phases)-1], []string{"wake"}) {
		fmt.Printf(" %s %.1f", phase, s.phases[phase])
	}
	quiet, during := percentile(s.quiet, 99), percentile(s.during, 99)
	fmt.Printf("\n  a warm tenant's p99: %.1f ms of %d quiet, %.1f ms of %d during the storm (p50 %.1f and %.1f): %.1f ×, goal %.0f: %s\n",
		quiet, len(s.quiet), during, len(s.during), percentile(s.quiet, 50), percentile(s.during, 50), during/quiet, warmGoal, verdict(during/quiet, warmGoal))
	if s.armed {
		fmt.Printf("  memory of an armed tenant: %d KiB (PSS)\n", s.waiting/int64(s.tenants))
	}
	fmt.Printf("  the daemon's memory: %d KiB before, %d KiB at most\n", s.memory[0], s.memory[1])
}
