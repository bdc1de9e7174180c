package keeper

import (
	"context"
	"os"
	"path/filepath"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// runscDirs are where runsc is looked for.
var runscDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"}

// Sandbox finds out whether gVisor works on this machine, by running it in a unit like an
// instance's. That takes some 0.3 s, so it is done when somebody asks.
type Sandbox struct {
	features Features
	base     units.Host
	turn     chan struct{} // holds one token while nobody probes
	// lock keeps other processes from probing, and told hears of what was found; nil where
	// that concerns nobody.
	lock func(context.Context) (release func(), err error)
	told func(units.Host)
	// Who has the token may use what follows.
	found  *units.Host
	probes int
}

// NewSandbox makes a Sandbox. host is what Probe found out.
func NewSandbox(m Features, host units.Host) *Sandbox {
	s := &Sandbox{features: m, base: host, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s
}

// Look gives the host with what is known of gVisor, and that in words. That it works is
// remembered, that it does not is not: somebody may install it. The error is of a look that
// could not be had.
func (s *Sandbox) Look(ctx context.Context) (units.Host, Check, error) {
	select {
	case <-ctx.Done():
		return s.base, Check{}, ctx.Err()
	case <-s.turn:
	}
	defer func() { s.turn <- struct{}{} }()
	check := Check{Name: `isolation = "sandbox"`}
	if h := s.found; h != nil && exists(h.Runsc) {
		check.OK, check.Detail = true, "gVisor ("+h.Runsc+") takes effect"
		return *h, check, nil
	}
	h := s.base
	h.Runsc = findRunsc()
	if h.Runsc == "" {
		check.Detail, check.Hint = "gVisor's runsc is not installed", units.RunscHint
		return h, check, nil
	}
	if !h.Namespaces || !h.PrivatePIDs || !h.PrivateNetwork {
		check.Detail = `it needs isolation = "namespace", process ids of their own and network = "private"`
		check.Hint = "see what is said of those"
		return h, check, nil
	}
	if s.lock != nil {
		release, err := s.lock(ctx)
		if err != nil {
			return h, check, err
		}
		defer release()
	}
	s.probes++
	const others = 100 // more than Probe makes, for names that are not its
	facts, cannot, err := runProbe(ctx, s.features, h, h.ProbeSpec(probeID, tenant.IsolationSandbox), others+s.probes)
	if err == nil && cannot != nil {
		err = transient(ctx, s.features, cannot)
	}
	if err != nil {
		return h, check, err
	}
	h.Sandbox = facts.GVisor
	if h.Sandbox {
		s.found = &h
		if s.told != nil {
			s.told(h)
		}
		check.OK, check.Detail = true, "gVisor ("+h.Runsc+") takes effect"
		return h, check, nil
	}
	check.Detail = "gVisor (" + h.Runsc + ") does not take effect"
	if cannot != nil {
		check.Detail += "; a probe unit said: " + firstLine(cannot.Error())
	}
	check.Hint = "is this a container that forbids user namespaces or ptrace? Ubuntu: kernel.apparmor_restrict_unprivileged_userns=1 prevents it"
	return h, check, nil
}

func findRunsc() string {
	for _, dir := range runscDirs {
		path := filepath.Join(dir, "runsc")
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path
		}
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
