package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// alive is what the watchdog asks; *lifecycle.Manager has it.
type alive interface {
	Alive(ctx context.Context) error
}

// watchdog tells systemd that the daemon works, as often as the unit's WatchdogSec=
// wants it (sd_watchdog_enabled(3)), while it really does. One that no longer answers
// says nothing, and systemd starts it again.
func watchdog(ctx context.Context, a alive, log *slog.Logger) error {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("watchdog not understood", "err", err)
	}
	if err != nil || interval == 0 {
		return nil
	}
	ticker := time.NewTicker(interval / 4)
	defer ticker.Stop()
	for {
		if err := check(ctx, a, interval/4); err == nil {
			_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
		} else if ctx.Err() == nil {
			log.Error("the daemon does not work any more, the watchdog is not told otherwise", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func check(ctx context.Context, a alive, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return a.Alive(ctx)
}
