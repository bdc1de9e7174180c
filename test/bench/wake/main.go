// Command wake measures what a wake costs, beside what the same app costs when it is started
// by hand:
//
//	go run ./test/bench/wake -n 30
//
// It boots a throwaway machine and runs itself in there, with a Python, a Node and a
// Go app under isolation "process", "namespace" and "sandbox". Three things are timed, always
// from the moment before the first thing is done to the first byte of the answer:
//
//   - bare start: fork and exec of the app, no Tenement; a connection is tried every
//     half millisecond.
//   - cold wake: a request through `ten serve` to an instance that is asleep.
//   - armed wake: the same to one that is asleep and armed.
//   - doze wake: the same to an instance that is dozing.
//
// They take turns, so that a busy moment of a shared machine hits all alike, and
// what is compared are medians of the same run. Beside them stands a transient
// service of systemd that runs /bin/true: below that no unit starts. With -inside it
// measures the machine that it is started on, as root, under systemd.
//
// With -storm N it times a storm instead: N sleeping Python tenants get one request each
// at once, while another is awake and asked all the time: with as many armed as without a
// setting, and with none. What it prints last is a section of docs/PERFORMANCE.md, for
// test/bench/report.
//
// With -steps N it times what systemd does before any of our code runs: N starts of
// /bin/true as an instance at level namespace, and with each part of that left out.
//
// The exit status is 0 also where a goal is missed; it is 1 when something failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tenement.dev/test/machine"
)

func main() {
	n := flag.Int("n", 30, "rounds: each times every bare start and cold wake once, and some doze wakes")
	storm := flag.Int("storm", 0, "instead: have so many sleeping tenants get a request each at once")
	steps := flag.Int("steps", 0, "instead: time so often what each part of the sandbox adds to a start")
	only := flag.String("isolation", "", "with -storm: only this one")
	asJSON := flag.Bool("json", false, "print every sample as JSON instead of tables")
	inside := flag.Bool("inside", false, "measure this machine itself, without booting one (needs root and systemd)")
	flag.Parse()
	ctx, stop := machine.UntilSignal()
	defer stop()
	code, err := run(ctx, options{*n, *storm, *steps, *only, *asJSON, *inside})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// options are the flags.
type options struct {
	n, storm, steps int
	isolation       string
	asJSON, inside  bool
}

func run(ctx context.Context, o options) (int, error) {
	if o.n < 1 {
		return 1, fmt.Errorf("-n %d: at least one round is needed", o.n)
	}
	storms := isolations
	if o.isolation != "" {
		if storms = []string{o.isolation}; !slices.Contains(isolations, o.isolation) {
			return 1, fmt.Errorf("-isolation %s: there are %s", o.isolation, strings.Join(isolations, ", "))
		}
	}
	dir, err := os.Getwd()
	if err != nil {
		return 1, err
	}
	repo, err := machine.Repository(dir)
	if err != nil {
		return 1, err
	}
	if err := checkBuilt(repo); err != nil {
		return 1, err
	}
	if !o.inside {
		return runInMachine(ctx, repo, o)
	}
	if o.steps > 0 {
		return 0, runSteps(ctx, repo, o.steps)
	}
	if o.storm > 0 {
		return 0, runStorm(ctx, repo, o.storm, storms)
	}
	report, err := measure(ctx, repo, o.n)
	if err != nil {
		return 1, err
	}
	if o.asJSON {
		return 0, report.writeJSON(os.Stdout)
	}
	return 0, report.writeText(os.Stdout)
}

// runInMachine runs this program with -inside in a throwaway machine.
func runInMachine(ctx context.Context, repo string, o options) (code int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	binds := []machine.Bind{{Host: repo}, {Host: filepath.Dir(self)}}
	m, err := machine.Boot(ctx, machine.Options{Binds: binds})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	argv := []string{self, "-inside", "-n", strconv.Itoa(o.n), "-storm", strconv.Itoa(o.storm), "-steps", strconv.Itoa(o.steps), "-isolation", o.isolation, "-json=" + strconv.FormatBool(o.asJSON)}
	return m.Run(ctx, repo, "root", []string{"PATH=" + machine.Path}, argv...)
}
