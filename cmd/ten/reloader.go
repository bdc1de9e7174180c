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
	asked   chan chan reloaded
	// old is the configuration of the start, present the latest, nil until there is another.
	old, present *config.Config
	// adopt has others take a configuration, or refuse it.
	adopt func(context.Context, *config.Config) error
	// look is told of a new configuration before it counts, set makes it count.
	look, set func(*config.Config)
	// unserved gives the instances whose service a configuration does not have.
	unserved func(*config.Config) []string
	events   *event.Bus
	log      *slog.Logger
}

// reloaded is what came of it.
type reloaded struct {
	unserved []string
	err      error
}

// Reload reads the file again; the error says why the old configuration stays. Instances
// that are unserved are so by the file that was taken.
func (r *reloader) Reload(ctx context.Context) (path string, unserved []string, err error) {
	answer := make(chan reloaded, 1)
	select {
	case r.asked <- answer:
	case <-ctx.Done():
		return "", nil, context.Cause(ctx)
	}
	var got reloaded
	select {
	case got = <-answer:
	case <-ctx.Done():
		got.err = context.Cause(ctx)
	}
	return r.old.Path, got.unserved, got.err // the path never changes
}

// run serves signals and Reload until ctx ends.
func (r *reloader) run(ctx context.Context) error {
	for {
		var answer chan reloaded // nobody reads that of a signal
		select {
		case <-ctx.Done():
			return nil
		case <-r.signals:
			answer = make(chan reloaded, 1)
		case answer = <-r.asked:
		}
		var got reloaded
		if got.err = r.reload(ctx); got.err == nil {
			got.unserved = r.unserved(r.present)
			warnOfUnserved(got.unserved, r.log)
		}
		answer <- got
	}
}

func (r *reloader) reload(ctx context.Context) error {
	cfg, err := reload(ctx, cmp.Or(r.present, r.old))
	if err == nil {
		err = r.adopt(ctx, cfg)
	}
	if err != nil {
		faults := faultLines(err)
		for _, line := range faults {
			r.log.Error("configuration not reloaded", "err", line)
		}
		r.events.Publish(event.Event{Kind: event.ReloadFailed, Fields: []slog.Attr{slog.String("reason", err.Error())}})
		hint := "mend what is named below, and reload again"
		if errors.Is(err, errNeedsRestart) {
			hint = "what is named below waits for a restart of the daemon, `systemctl restart tenement`, which ends no instance; where systemd holds its sockets nobody is refused"
		}
		return &tenant.Error{
			Code: tenant.CodeConflict, Op: "reload", Err: err,
			Msg:  fmt.Sprintf("%s was not taken, and what was read before stays", filepath.Base(r.old.Path)),
			Hint: hint,
			Log:  faults,
		}
	}
	r.look(cfg)
	r.set(cfg)
	r.present = cfg
	r.events.Publish(event.Event{Kind: event.Reloaded, Fields: []slog.Attr{slog.String("config", cfg.Path)}})
	return nil
}

// faultLines are what of an error people read who reload: each fault of the file, or the one reason why it was not taken.
func faultLines(err error) []string {
	var e *tenant.Error
	if !errors.As(err, &e) || e.Msg == "" {
		return strings.Split(strings.TrimSpace(err.Error()), "\n")
	}
	if e.Hint == "" {
		return []string{e.Msg}
	}
	return []string{e.Msg + "; " + e.Hint}
}

// errNeedsRestart says that a change is one that only a start takes.
var errNeedsRestart = errors.New("cannot change while the daemon runs")

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
		return nil, fmt.Errorf("data_dir %w: it is %s, and would be %s", errNeedsRestart, old.Settings.DataDir, cfg.Settings.DataDir)
	}
	if !slices.Equal(cfg.Settings.Domains, old.Settings.Domains) {
		return nil, fmt.Errorf("domain %w", errNeedsRestart)
	}
	if cfg.Settings.APIListen != old.Settings.APIListen {
		return nil, fmt.Errorf("api_listen %w: it is %q, and would be %q", errNeedsRestart, old.Settings.APIListen, cfg.Settings.APIListen)
	}
	if cfg.Settings.MetricsListen != old.Settings.MetricsListen {
		return nil, fmt.Errorf("metrics_listen %w", errNeedsRestart)
	}
	if cfg.Settings.FastPath != old.Settings.FastPath {
		return nil, fmt.Errorf("fast_path %w", errNeedsRestart)
	}
	if cfg.Settings.ProxyProtocol != old.Settings.ProxyProtocol {
		return nil, fmt.Errorf("proxy_protocol %w", errNeedsRestart)
	}
	if !reflect.DeepEqual(cfg.Settings.TLS, old.Settings.TLS) {
		return nil, fmt.Errorf("[settings.tls] %w; certificate files are read again by themselves", errNeedsRestart)
	}
	return cfg, nil
}
