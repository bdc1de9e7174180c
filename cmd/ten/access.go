package main

import (
	"io"
	"log/slog"

	"github.com/coreos/go-systemd/v22/journal"

	"tenement.dev/internal/accesslog"
	"tenement.dev/internal/config"
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
	if journal.Enabled() {
		o.Journal = func(message string, fields map[string]string) error {
			return journal.Send(message, journal.PriInfo, fields)
		}
	}
	return accesslog.New(o)
}
