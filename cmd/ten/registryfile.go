package main

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"tenement.dev/internal/keeper"
)

// registryInterval is how often the daemon looks whether its registry is at its place.
const registryInterval = 5 * time.Second

// lossHint is said where an error has no hint of its own.
const lossHint = "what ten writes may be lost when it ends"

// registryFile looks whether the registry is at its place, and tells of it.
type registryFile struct {
	check func(context.Context) (restored bool, err error) // registry.Registry.Check
	path  string
	log   *slog.Logger

	mu   sync.Mutex
	told string // what was logged last, empty where all is well
}

// look has a missing file put back, and logs what is new.
func (f *registryFile) look(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	restored, err := f.check(ctx)
	switch {
	case ctx.Err() != nil:
		return err
	case err == nil:
		if restored {
			f.log.Warn("the registry was missing and has been put back", "file", f.path,
				"hint", "somebody has deleted or moved it while ten runs")
		}
		f.told = ""
	case err.Error() != f.told:
		f.told = err.Error()
		f.log.Error("the registry is not where it belongs", "file", f.path, "err", err, "hint", cmp.Or(hintOf(err), lossHint))
	}
	return err
}

// run looks until ctx ends.
func (f *registryFile) run(ctx context.Context) error {
	tick := time.NewTicker(registryInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			_ = f.look(ctx) // logged
		}
	}
}

// doctor is what doctor says of it; not ok where all is well.
func (f *registryFile) doctor(ctx context.Context) (c keeper.Check, ok bool) {
	err := f.look(ctx)
	if err == nil {
		return c, false
	}
	return keeper.Check{Name: "registry", Detail: sentence(err), Hint: cmp.Or(hintOf(err), lossHint)}, true
}
