package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"

	"tenement.dev/internal/calendar"
	"tenement.dev/internal/config"
	"tenement.dev/internal/event"
	"tenement.dev/internal/keeper"
	"tenement.dev/units"
)

// reloads makes the file at path the configuration each time that there is a signal,
// until ctx ends. One with a fault is refused as a whole, and the old one stays.
func reloads(ctx context.Context, signals <-chan os.Signal, old *config.Config, host units.Host, sandbox *keeper.Sandbox, set func(*config.Config), events *event.Bus, log *slog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-signals:
		}
		cfg, err := reload(ctx, old)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				log.Error("configuration not reloaded", "err", strings.TrimSpace(line))
			}
			events.Publish(event.Event{Kind: event.ReloadFailed, Fields: []slog.Attr{slog.String("reason", err.Error())}})
			continue
		}
		warnOfServices(cfg, lookedAt(ctx, cfg, host, sandbox, log), log)
		set(cfg)
		log.Info("configuration reloaded", "config", cfg.Path)
		events.Publish(event.Event{Kind: event.Reloaded, Fields: []slog.Attr{slog.String("config", cfg.Path)}})
		old = cfg
	}
}

// loadConfig reads the file at path and has systemd look at its calendar times.
func loadConfig(ctx context.Context, path string) (*config.Config, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	if err := cfg.CheckSchedules(func(entry string) error { return calendar.Check(ctx, entry) }); err != nil {
		return nil, err
	}
	return cfg, nil
}

func reload(ctx context.Context, old *config.Config) (*config.Config, error) {
	cfg, err := loadConfig(ctx, old.Path)
	if err != nil {
		return nil, err
	}
	if cfg.Settings.DataDir != old.Settings.DataDir {
		return nil, fmt.Errorf("data_dir is %s and cannot become %s while the daemon runs", old.Settings.DataDir, cfg.Settings.DataDir)
	}
	if !slices.Equal(cfg.Settings.Domains, old.Settings.Domains) {
		return nil, errors.New("domain cannot change while the daemon runs")
	}
	if cfg.Settings.APIListen != old.Settings.APIListen {
		return nil, fmt.Errorf("api_listen is %q and cannot become %q while the daemon runs", old.Settings.APIListen, cfg.Settings.APIListen)
	}
	if cfg.Settings.MetricsListen != old.Settings.MetricsListen {
		return nil, errors.New("metrics_listen cannot change while the daemon runs")
	}
	if !reflect.DeepEqual(cfg.Settings.TLS, old.Settings.TLS) {
		return nil, errors.New("[settings.tls] cannot change while the daemon runs; certificate files are read again by themselves")
	}
	return cfg, nil
}
