package main

import (
	"io"
	"log/slog"

	sdjournal "github.com/coreos/go-systemd/v22/journal"

	"tenement.dev/internal/accesslog"
	"tenement.dev/internal/config"
	"tenement.dev/journal"
)

// newAccessLog makes the access log: to the journal, or as lines on out.
func newAccessLog(cfg func() *config.Config, out io.Writer, log *slog.Logger) *accesslog.Log {
	o := accesslog.Options{
		Config: cfg,
		Lines: func(line []byte) error {
			_, err := out.Write(line)
			return err
		},
		Log: log,
	}
	if sdjournal.Enabled() {
		o.Journal = journal.NewEntries().Send
	}
	return accesslog.New(o)
}
