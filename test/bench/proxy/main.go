// Command proxy measures requests through `ten serve` beside the same requests through nginx,
// HAProxy, Caddy, systemd-socket-proxyd and a plain httputil.ReverseProxy:
//
//	go run ./test/bench/proxy -rounds 5
//
// It boots a throwaway machine, which has them all from Debian, and runs itself in there.
// The app is an nginx that is an instance of Tenement, and for WebSockets and bodies from the
// client one of testapp, which reads all before it answers; everybody has that one process for
// their backend, keeps its connections to it, and is asked by the same client with the same
// options. In each round all take turns, so that a busy moment of a shared machine hits all
// alike, and what is compared are medians of the same run. With -out the tables go into a
// file too, between two marks. With -inside it measures the machine that it is started on,
// as root, under systemd.
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
	"strconv"
	"strings"
	"time"

	"tenement.dev/test/machine"
)

func main() {
	o := options{registered: 10000, hosts: 1000}
	flag.IntVar(&o.rounds, "rounds", 5, "rounds: each asks everybody once, in each case")
	flag.DurationVar(&o.each, "each", time.Second, "how long a client asks")
	flag.StringVar(&o.only, "only", "", "only the cases whose names begin so")
	flag.Func("peers", "only these `peers`, separated by commas", func(s string) error {
		o.peers = strings.Split(s, ",")
		return nil
	})
	flag.StringVar(&o.out, "out", "", "write the tables into this file too")
	flag.BoolVar(&o.leave, "leave", false, "destroy no instance at the end: the machine ends too")
	inside := flag.Bool("inside", false, "measure this machine itself, without booting one (needs root and systemd)")
	flag.Parse()
	ctx, stop := machine.UntilSignal()
	defer stop()
	var err error
	switch {
	case os.Getenv(plainAddress) != "":
		err = servePlain(ctx)
	case *inside:
		err = run(ctx, o)
	default:
		err = runInMachine(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	rounds int
	each   time.Duration
	only   string
	out    string
	leave  bool
	// registered is how many tenants there are, and hosts how many of them are asked where many are.
	registered, hosts int
	// peers are the names of those that are measured, nil for all.
	peers []string
	// cases are those that are measured, nil for all; large is the size of the largest body
	// in bytes, 0 for 1 GB. They are for tests.
	cases []string
	large int64
}

// run measures this machine, and tells of it.
func run(ctx context.Context, o options) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	repo, err := machine.Repository(dir)
	if err != nil {
		return err
	}
	r, err := measure(ctx, repo, o)
	if err != nil {
		return err
	}
	text := r.markdown()
	fmt.Print(text)
	if o.out == "" {
		return nil
	}
	return writeBetweenMarks(o.out, text)
}

// runInMachine runs this program with -inside in a throwaway machine.
func runInMachine(ctx context.Context, o options) (err error) {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	repo, err := machine.Repository(dir)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	binds := []machine.Bind{{Host: repo}, {Host: filepath.Dir(self)}}
	argv := []string{self, "-inside", "-leave", "-rounds", strconv.Itoa(o.rounds), "-each", o.each.String(), "-only", o.only}
	if o.peers != nil {
		argv = append(argv, "-peers", strings.Join(o.peers, ","))
	}
	if o.out != "" {
		if o.out, err = filepath.Abs(o.out); err != nil {
			return err
		}
		binds = append(binds, machine.Bind{Host: filepath.Dir(o.out), Machine: "/out", Write: true})
		argv = append(argv, "-out", filepath.Join("/out", filepath.Base(o.out)))
	}
	m, err := machine.Boot(ctx, machine.Options{Binds: binds})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	code, err := m.Run(ctx, repo, "root", []string{"PATH=" + machine.Path}, argv...)
	if err == nil && code != 0 {
		err = fmt.Errorf("the measurement ended with status %d", code)
	}
	return err
}
