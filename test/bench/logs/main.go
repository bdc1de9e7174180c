// Command logs measures how long it takes to find something in a large journal:
//
//	go run ./test/bench/logs
//
// It boots a throwaway machine and runs itself in there, over a journal of about 1 GB
// with the lines of 1,000 tenants of 30 days, which it makes once, in a minute or two,
// and keeps in the cache of the tests. Each question is asked through package journal,
// as `ten logs` does, and of journalctl itself, first without the journal in memory.
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

	"tenement.dev/test/machine"
)

// made is where the machine has the journal.
const made = "/srv/journal"

func main() {
	n := flag.Int("n", 9, "how often each question is asked; the median counts")
	inside := flag.Bool("inside", false, "measure here (used by the benchmark itself)")
	flag.Parse()
	ctx, stop := machine.UntilSignal()
	defer stop()
	code, err := run(ctx, *n, *inside)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(ctx context.Context, n int, inside bool) (code int, err error) {
	if n < 1 {
		return 1, fmt.Errorf("-n %d: at least once", n)
	}
	if inside {
		return 0, measure(ctx, made, n)
	}
	cache, err := machine.Cache()
	if err != nil {
		return 1, err
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	m, err := machine.Boot(ctx, machine.Options{Binds: []machine.Bind{
		{Host: filepath.Dir(self)}, {Host: cache, Machine: made, Write: true},
	}})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	return m.Run(ctx, "/", "root", []string{"PATH=" + machine.Path}, self, "-inside", "-n", strconv.Itoa(n))
}
