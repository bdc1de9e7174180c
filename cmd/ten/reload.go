package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"tenement.dev/internal/config"
	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// reloader makes the file the configuration again, when there is a signal or somebody asks
// for it. One with a fault is refused as a whole, and the old one stays.
type reloader struct {
	signals <-chan os.Signal
	asked   chan chan error
	// old is the configuration of the start, present the latest, nil until there is another.
	old, present *config.Config
	// adopt has others take a configuration, or refuse it.
	adopt func(context.Context, *config.Config) error
	// look is told of a new configuration before it counts, set makes it count.
	look, set func(*config.Config)
	events    *event.Bus
	log       *slog.Logger
}

// Reload reads the file again; the error says why the old configuration stays.
func (r *reloader) Reload(ctx context.Context) (path string, err error) {
	answer := make(chan error, 1)
	select {
	case r.asked <- answer:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	select {
	case err = <-answer:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return r.old.Path, err // which never changes
}

// run serves signals and Reload until ctx ends.
func (r *reloader) run(ctx context.Context) error {
	for {
		var answer chan error // nobody reads that of a signal
		select {
		case <-ctx.Done():
			return nil
		case <-r.signals:
			answer = make(chan error, 1)
		case answer = <-r.asked:
		}
		answer <- r.reload(ctx)
	}
}

func (r *reloader) reload(ctx context.Context) error {
	cfg, err := reload(ctx, cmp.Or(r.present, r.old))
	if err == nil {
		err = r.adopt(ctx, cfg)
	}
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			r.log.Error("configuration not reloaded", "err", strings.TrimSpace(line))
		}
		r.events.Publish(event.Event{Kind: event.ReloadFailed, Fields: []slog.Attr{slog.String("reason", err.Error())}})
		return &tenant.Error{
			Code: tenant.CodeConflict, Op: "reload", Err: err,
			Msg:  fmt.Sprintf("%s was not taken, and what was read before stays", filepath.Base(r.old.Path)),
			Hint: "mend what is named below, and reload again",
			Log:  strings.Split(err.Error(), "\n"),
		}
	}
	r.look(cfg)
	r.set(cfg)
	r.present = cfg
	r.events.Publish(event.Event{Kind: event.Reloaded, Fields: []slog.Attr{slog.String("config", cfg.Path)}})
	return nil
}

// loadConfig reads the file at path and has systemd look at its calendar times.
func loadConfig(ctx context.Context, path string) (*config.Config, error) {
	return config.LoadChecked(path, calendarOf(ctx))
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
	if cfg.Settings.FastPath != old.Settings.FastPath {
		return nil, errors.New("fast_path cannot change while the daemon runs")
	}
	if cfg.Settings.ProxyProtocol != old.Settings.ProxyProtocol {
		return nil, errors.New("proxy_protocol cannot change while the daemon runs")
	}
	if !reflect.DeepEqual(cfg.Settings.TLS, old.Settings.TLS) {
		return nil, errors.New("[settings.tls] cannot change while the daemon runs; certificate files are read again by themselves")
	}
	return cfg, nil
}
