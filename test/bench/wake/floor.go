package main

import (
	"context"
	"io"
	"log/slog"
	"time"

	"tenement.dev/dbusctl"
	"tenement.dev/units"
)

// floor starts bare transient services, as `systemd-run --wait /bin/true` does.
type floor struct{ systemd *dbusctl.Client }

func newFloor(ctx context.Context) (*floor, error) {
	c, err := dbusctl.Dial(ctx, dbusctl.Options{
		Scope: dbusctl.System, Prefix: "tenement-bench-", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return nil, err
	}
	return &floor{c}, nil
}

func (f *floor) close() { f.systemd.Close() }

// run gives the time from the call to systemd until the service's job is done, which
// for a oneshot service is when its process has ended.
func (f *floor) run(ctx context.Context, name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	unit := units.Unit{Name: name, Properties: []units.Property{
		{Name: "CollectMode", Value: "inactive-or-failed"},
		{Name: "Type", Value: "oneshot"},
		{Name: "ExecStartEx", Value: []units.Exec{{Path: "/bin/true", Argv: []string{"true"}}}},
	}}
	begun := time.Now()
	err := f.systemd.StartTransient(ctx, unit)
	return time.Since(begun), err
}
