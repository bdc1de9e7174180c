package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// warnOfServices tells early of services whose instances this machine cannot run as
// they are configured, where to spawn one is an error, or cannot fence.
func warnOfServices(cfg *config.Config, host units.Host, log *slog.Logger) {
	for _, name := range slices.Sorted(maps.Keys(cfg.Services)) {
		id := tenant.ID{Service: name, Name: "any"}
		spec, err := cfg.Spec(id, config.Placement{Port: cfg.Settings.PortMin, SocketDir: host.SocketDir(id), Release: cfg.Services[name].Release})
		if err == nil {
			_, _, err = host.Render(spec, "")
		}
		var e *tenant.Error
		if errors.As(err, &e) {
			log.Warn("service cannot run on this machine", "service", name, "err", e.Msg, "hint", e.Hint)
			continue
		}
		if err == nil && !host.User && host.LacksFence(spec) {
			log.Warn("instances are not fenced from each other's ports", "service", name, "hint", "`ten doctor` says why; network = \"private\" needs no fence")
		}
	}
	if !host.User && tellsAll(cfg) {
		log.Warn("instances can read the configuration, and so the environment of all services", "path", cfg.Path, "hint", "chmod o= "+cfg.Path)
	}
	if low, high, ok := clientPorts(); ok && cfg.Settings.PortMin <= high && low <= cfg.Settings.PortMax {
		log.Warn("port_range has ports that the kernel gives to clients: those can take it up",
			"port_range", fmt.Sprintf("%d-%d", cfg.Settings.PortMin, cfg.Settings.PortMax), "hint", fmt.Sprintf("net.ipv4.ip_local_port_range is %d to %d", low, high))
	}
}

// tellsAll reports whether everybody may read a configuration that says more than an
// instance may know: others' environment.
func tellsAll(cfg *config.Config) bool {
	info, err := os.Stat(cfg.Path)
	if err != nil || info.Mode().Perm()&0o004 == 0 {
		return false
	}
	for _, s := range cfg.Services {
		if len(s.Env) > 0 {
			return true
		}
	}
	return false
}

// lookedAt is host with what is known of gVisor, which is looked at only if a service
// wants it.
func lookedAt(ctx context.Context, cfg *config.Config, host units.Host, sandbox sandbox, log *slog.Logger) units.Host {
	wanted := slices.ContainsFunc(slices.Collect(maps.Values(cfg.Services)), func(s *config.Service) bool {
		return s.Isolation == tenant.IsolationSandbox
	})
	if !wanted {
		return host
	}
	found, _, err := sandbox.Look(ctx)
	if err != nil {
		log.Warn("sandbox not looked at", "err", err)
	}
	return found
}

// clientPorts are the ports that the kernel gives to whoever does not ask for one
// (ip(7), ip_local_port_range).
func clientPorts() (low, high int, ok bool) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, 0, false
	}
	n, err := fmt.Sscan(string(text), &low, &high)
	return low, high, err == nil && n == 2
}
