package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tenement.dev/test/bench/platform"
)

const (
	runtimeDir = "/run/tenement-bench"
	// Ports below those that the kernel gives out, where no connection meets itself.
	daemonPort = 18080
	barePort   = 18081

	instance   = "bench"
	dozeAfter  = 50 * time.Millisecond
	dozesEach  = 4 // doze wakes after each cold wake: they are cheap, and it is their p99 that counts
	healthWord = "health"
)

// settleTime is the pause before each measurement, so that what the one before has
// left to do (reaping, collecting units, writing the journal) is not part of it.
const settleTime = 40 * time.Millisecond

var isolations = []string{"process", "namespace", "sandbox"}

// bench is the benchmark at work.
type bench struct {
	dir    string
	daemon *daemon
	floor  *floor
	report *report
	record bool
	round  int
}

// step is one thing that is done in each round.
type step func(ctx context.Context) error

// measure makes n rounds on this machine.
func measure(ctx context.Context, repo string, n int) (_ *report, err error) {
	dir, err := makeDir()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir), os.RemoveAll(runtimeDir)) }()
	apps, err := installApps(repo, dir)
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir, report: &report{Rounds: n}}
	if b.report.Machine, err = describeMachine(ctx); err != nil {
		return nil, err
	}
	if b.floor, err = newFloor(ctx); err != nil {
		return nil, err
	}
	defer b.floor.close()
	if b.daemon, err = startDaemon(ctx, repo, dir, configFor(apps, dir, 0), daemonPort); err != nil {
		return nil, err
	}
	defer func() {
		// The daemon's log may be read when it has ended, not before.
		if err = errors.Join(err, b.tidyUp(apps)); err != nil {
			err = fmt.Errorf("%w\nthe daemon's last words:\n%s", err, b.daemon.lastWords())
		}
	}()
	if err := b.rounds(ctx, apps, n); err != nil {
		return nil, err
	}
	if err := b.armedRounds(ctx, apps, n); err != nil {
		return nil, err
	}
	b.report.Machine.LoadAfter = platform.Load()
	b.report.judge()
	return b.report, nil
}

// makeDir makes a directory that instances' users can pass through and that no
// sandbox covers.
func makeDir() (string, error) {
	dir, err := os.MkdirTemp("/srv", "tenement-bench-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// configFor has a service for each app at each isolation, and one with a health
// endpoint. They doze soon and never sleep by themselves; so many sleepers are armed.
func configFor(apps []app, dir string, armed int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[settings]\ndata_dir = %q\narmed = %d\n", filepath.Join(dir, "data"), armed)
	add := func(name, isolation string, a app, more string) {
		fmt.Fprintf(&b, "[service.%s]\ncommand = %q\nargs = [", name, a.argv[0])
		for i, arg := range a.argv[1:] {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%q", arg)
		}
		fmt.Fprintf(&b, "]\nisolation = %q\ndoze_timeout = %q\nidle_timeout = \"1h\"\n%s", isolation, dozeAfter.String(), more)
	}
	for _, a := range apps {
		for _, isolation := range isolations {
			add(a.name+"-"+isolation, isolation, a, "")
		}
	}
	add(apps[0].name+"-"+healthWord, "namespace", apps[0], fmt.Sprintf("health = %q\n", apps[0].path))
	return b.String()
}

// rounds spawns everything, makes one round that does not count, and then n.
func (b *bench) rounds(ctx context.Context, apps []app, n int) error {
	var steps []step
	steps = append(steps, b.unitStep())
	for _, a := range apps {
		steps = append(steps, b.bareStep(a))
		for _, isolation := range isolations {
			steps = append(steps, b.wakeStep(a, isolation, false))
		}
	}
	steps = append(steps, b.wakeStep(apps[0], "namespace", true))
	for _, id := range ids(apps) {
		if _, err := b.daemon.run(ctx, "spawn", id); err != nil {
			return err
		}
		if _, err := b.daemon.run(ctx, "stop", id); err != nil {
			return err
		}
	}
	for b.round = range n + 1 {
		b.record = b.round > 0
		for i := range steps {
			// Each round begins elsewhere, so that none always follows the same.
			if err := steps[(i+b.round)%len(steps)](ctx); err != nil {
				return err
			}
		}
		fmt.Fprintf(os.Stderr, "\rround %d of %d ", b.round, n)
	}
	fmt.Fprint(os.Stderr, "\r                    \r")
	return nil
}

// armedRounds makes n rounds of armed wakes, with bare starts between them. Arming has a
// time of its own, before each round: what is in the other rounds shall not meet it.
func (b *bench) armedRounds(ctx context.Context, apps []app, n int) error {
	list := ids(apps)
	path := filepath.Join(b.dir, "tenement.toml")
	if err := os.WriteFile(path, []byte(configFor(apps, b.dir, len(list))), 0o644); err != nil {
		return err
	}
	if err := b.daemon.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	for b.round = range n + 1 {
		b.record = b.round > 0
		if n, err := b.daemon.awaitArmed(ctx, len(list)); err == nil && n < len(list) {
			return fmt.Errorf("%d armed in time, want %d", n, len(list))
		} else if err != nil {
			return err
		}
		for _, a := range apps {
			if err := b.bareStep(a)(ctx); err != nil {
				return err
			}
			for _, isolation := range isolations {
				if err := b.wake(ctx, a, a.name+"-"+isolation+":"+instance, key{a.name, isolation, kindArmed, false}); err != nil {
					return err
				}
			}
		}
		if _, err := b.daemon.run(ctx, append([]string{"stop"}, list...)...); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "\rarmed round %d of %d ", b.round, n)
	}
	fmt.Fprint(os.Stderr, "\r                    \r")
	return nil
}

// ids are all instances.
func ids(apps []app) []string {
	var list []string
	for _, a := range apps {
		for _, isolation := range isolations {
			list = append(list, a.name+"-"+isolation+":"+instance)
		}
	}
	return append(list, apps[0].name+"-"+healthWord+":"+instance)
}

func (b *bench) unitStep() step {
	return func(ctx context.Context) error {
		if err := settle(ctx); err != nil {
			return err
		}
		took, err := b.floor.run(ctx, fmt.Sprintf("tenement-bench-%d.service", b.round))
		if err != nil {
			return err
		}
		b.add(key{Kind: kindUnit}, milliseconds(took), nil)
		return nil
	}
}

func (b *bench) bareStep(a app) step {
	return func(ctx context.Context) error {
		if err := settle(ctx); err != nil {
			return err
		}
		took, err := a.startBare(ctx, b.dir, barePort)
		if err != nil {
			return err
		}
		b.add(key{App: a.name, Kind: kindBare}, milliseconds(took), nil)
		return nil
	}
}

// wakeStep times a cold wake and, but for the instance with a health endpoint, doze
// wakes after it. The instance is asleep before and after.
func (b *bench) wakeStep(a app, isolation string, health bool) step {
	service, dozes := a.name+"-"+isolation, dozesEach
	if health {
		service, dozes = a.name+"-"+healthWord, 0
	}
	id := service + ":" + instance
	return func(ctx context.Context) error {
		if err := b.wake(ctx, a, id, key{a.name, isolation, kindCold, health}); err != nil {
			return err
		}
		for range dozes {
			if err := b.daemon.awaitState(ctx, id, "dozing"); err != nil {
				return err
			}
			if err := b.wake(ctx, a, id, key{a.name, isolation, kindDoze, health}); err != nil {
				return err
			}
		}
		_, err := b.daemon.run(ctx, "stop", id)
		return err
	}
}

func (b *bench) wake(ctx context.Context, a app, id string, k key) error {
	if err := settle(ctx); err != nil {
		return err
	}
	ms, parts, err := b.daemon.wake(ctx, id, a.path, string(k.Kind))
	if err != nil {
		return err
	}
	b.add(k, ms, parts)
	return nil
}

func (b *bench) add(k key, ms float64, parts map[string]float64) {
	if b.record {
		b.report.add(k, ms, parts)
	}
}

// settle pauses.
func settle(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(settleTime):
		return nil
	}
}

// tidyUp removes every instance and ends the daemon.
func (b *bench) tidyUp(apps []app) error {
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	_, err := b.daemon.run(ctx, append([]string{"destroy", "--yes"}, ids(apps)...)...)
	return errors.Join(err, b.daemon.end())
}
