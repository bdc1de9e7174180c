package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"tenement.dev/dbusctl"
	"tenement.dev/internal/config"
	"tenement.dev/internal/keeper"
	"tenement.dev/internal/tenant"
	"tenement.dev/journal"
	"tenement.dev/units"
)

// newHost says where things are on this machine.
func (p *program) newHost(dataDir string) (units.Host, error) {
	init, err := initPath()
	if err != nil {
		return units.Host{}, err
	}
	h := units.Host{
		User:       p.euid != 0,
		RuntimeDir: p.runtimeDir(),
		DataRoot:   dataDir,
		InitPath:   init,
	}
	if h.User {
		h.NotifySocket = filepath.Join(filepath.Dir(h.RuntimeDir), "systemd/notify")
	}
	return h, nil
}

// allChecks are what doctor tells: what the probe has found, and the rest. The check of
// the sandbox is made when it is first asked for.
func allChecks(ctx context.Context, h units.Host, probed []keeper.Check, sandbox sandbox) ([]keeper.Check, error) {
	_, check, err := sandbox.Look(ctx)
	if _, beside := sandbox.(remoteSandbox); beside && tenant.CodeOf(err) == tenant.CodeUnavailable {
		check, err = keeper.Check{Name: "keeper", Detail: sentence(err), Hint: hintOf(err)}, nil
	}
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(probed), pressureCheck(), keeper.CheckStorage(h), check, journalCheck(journalScope(h.User))), nil
}

func dialSystemd(ctx context.Context, user bool, log *slog.Logger) (*dbusctl.Client, error) {
	scope := dbusctl.System
	if user {
		scope = dbusctl.User
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return dbusctl.Dial(ctx, dbusctl.Options{Scope: scope, Prefix: units.Prefix, Log: log})
}

func journalScope(user bool) journal.Scope {
	if user {
		return journal.User
	}
	return journal.System
}

// probeLocal looks at the machine as a daemon would at its start, and leaves nothing
// behind but the lock that keeps a daemon from doing so at the same time.
func (p *program) probeLocal(ctx context.Context) (checks []keeper.Check, err error) {
	log := slog.New(slog.NewTextHandler(p.err, &slog.HandlerOptions{Level: slog.LevelError}))
	host, err := p.newHost("")
	if err != nil {
		return nil, err
	}
	held, err := lock(host.RuntimeDir, "runtime directory")
	if tenant.CodeOf(err) == tenant.CodeConflict {
		return nil, &tenant.Error{
			Code: tenant.CodeUnavailable, Op: "doctor",
			Msg:  "a daemon is starting, or a doctor at work: the machine cannot be looked at meanwhile",
			Hint: "try again in a moment",
			Err:  err,
		}
	}
	if err != nil {
		return nil, err
	}
	defer held.Close()
	host.RuntimeDir += "-doctor"
	host.DataRoot = filepath.Join(host.RuntimeDir, "data")
	defer func() { err = errors.Join(err, os.RemoveAll(host.RuntimeDir)) }()
	systemd, err := dialSystemd(ctx, host.User, log)
	if err != nil {
		return nil, err
	}
	defer systemd.Close()
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return systemd.Run(ctx) })
	host, checks, err = keeper.Probe(ctx, systemd, host)
	if err == nil {
		checks, err = allChecks(ctx, keeper.WithData(host, dataDirHere()), checks, keeper.NewSandbox(systemd, host))
	}
	cancel()
	return checks, errors.Join(err, group.Wait())
}

// dataDirHere is where a daemon that is started here has its data.
func dataDirHere() string {
	if cfg, err := config.Load("tenement.toml"); err == nil {
		return cfg.Settings.DataDir
	}
	dir, err := filepath.Abs("data")
	if err != nil {
		return "data"
	}
	return dir
}
