package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	isolation string
	arms      bool // as many as the machine's memory suggests
	armed     int
	tenants   int
	answered  int
	bare      float64 // ms, the median
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
			s, err := oneStorm(ctx, repo, isolation, n, arms)
			if err != nil {
				return err
			}
			s.print(hardware.Cores)
			storms = append(storms, s)
		}
	}
	if hardware.LoadAfter, err = loadAverage(); err != nil {
		return err
	}
	fmt.Printf("\n%s\n\n%s", hardware, stormSection(hardware, storms))
	return nil
}

func oneStorm(ctx context.Context, repo, isolation string, n int, arms bool) (_ *storm, err error) {
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
	fmt.Fprintf(&config, "[settings]\ndata_dir = %q\n", filepath.Join(dir, "data"))
	if !arms {
		config.WriteString("armed = 0\n")
	}
	for _, service := range []string{"storm", "warm"} {
		// Many gVisors at once take a while.
		fmt.Fprintf(&config, "[service.%s]\ncommand = [%q, %q]\nisolation = %q\non_demand = true\nmax_instances = 10000\nstartup_timeout = 60\n",
			service, python.argv[0], python.argv[1], isolation)
	}
	s := &storm{isolation: isolation, arms: arms, tenants: n}
	if s.reload[0], err = reload(ctx); err != nil {
		return nil, err
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
	// The first requests create them; that is not the storm.
	if _, _, err := d.askAll(ctx, append([]string{"warm:w"}, names...)); err != nil {
		return nil, err
	}
	if _, err := d.runFor(ctx, stormTimeout, append([]string{"stop"}, names...)...); err != nil {
		return nil, err
	}
	if arms {
		if s.armed, err = d.awaitArmed(ctx, n); err != nil {
			return nil, err
		}
		if s.reload[1], err = reload(ctx); err != nil {
			return nil, err
		}
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
	alone, err := python.startMany(ctx, dir, n)
	if err != nil {
		return nil, err
	}
	s.bareCPU = readCPUTime(d.cmd.Process.Pid).perTenant(before, n)
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
	again, err := python.startMany(ctx, dir, n)
	s.alone = (alone + again) / 2
	return s, err
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
