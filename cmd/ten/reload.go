package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"tenement.dev/internal/config"
	"tenement.dev/internal/keeper"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// reloads makes the file at path the configuration each time that there is a signal,
// until ctx ends. One with a fault is refused as a whole, and the old one stays.
func reloads(ctx context.Context, signals <-chan os.Signal, old *config.Config, host units.Host, sandbox *keeper.Sandbox, set func(*config.Config), log *slog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-signals:
		}
		cfg, err := reload(old)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				log.Error("configuration not reloaded", "err", strings.TrimSpace(line))
			}
			continue
		}
		warnOfServices(ctx, cfg, host, sandbox, log)
		set(cfg)
		log.Info("configuration reloaded", "config", cfg.Path)
		old = cfg
	}
}

func reload(old *config.Config) (*config.Config, error) {
	cfg, err := config.Load(old.Path)
	if err != nil {
		return nil, err
	}
	if cfg.Settings.DataDir != old.Settings.DataDir {
		return nil, fmt.Errorf("data_dir is %s and cannot become %s while the daemon runs", old.Settings.DataDir, cfg.Settings.DataDir)
	}
	if !reflect.DeepEqual(cfg.Settings.TLS, old.Settings.TLS) {
		return nil, errors.New("[settings.tls] cannot change while the daemon runs; certificate files are read again by themselves")
	}
	return cfg, nil
}

// warnOfServices tells early of services whose instances this machine cannot run as
// they are configured: to spawn one is an error.
func warnOfServices(ctx context.Context, cfg *config.Config, host units.Host, sandbox *keeper.Sandbox, log *slog.Logger) {
	if slices.ContainsFunc(slices.Collect(maps.Values(cfg.Services)), func(s *config.Service) bool { return s.Isolation == tenant.IsolationSandbox }) {
		found, _, err := sandbox.Look(ctx)
		if err != nil {
			log.Warn("sandbox not looked at", "err", err)
		}
		host = found
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Services)) {
		id := tenant.ID{Service: name, Name: "any"}
		spec, err := cfg.Spec(id, config.Placement{Port: cfg.Settings.PortMin, SocketDir: host.SocketDir(id)})
		if err == nil {
			_, _, err = host.Render(spec, "")
		}
		var e *tenant.Error
		if errors.As(err, &e) {
			log.Warn("service cannot run on this machine", "service", name, "err", e.Msg, "hint", e.Hint)
		}
	}
}
