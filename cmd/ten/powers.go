package main

import (
	"context"
	"log/slog"
	"path/filepath"

	"tenement.dev/dbusctl"
	"tenement.dev/internal/config"
	"tenement.dev/internal/keeper"
	"tenement.dev/internal/lifecycle"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// powers are what a daemon does with the rights of the manager's user: by itself, or by a
// keeper where it has none.
type powers struct {
	controller controller
	host       units.Host
	checks     []keeper.Check
	sandbox    sandbox
	// adopt makes a configuration the one that holds for others than the daemon.
	adopt func(context.Context, *config.Config) error
}

// controller is both keepers.
type controller interface {
	lifecycle.Controller
	Run(ctx context.Context) error
}

// sandbox tells whether gVisor works.
type sandbox interface {
	Look(ctx context.Context) (units.Host, keeper.Check, error)
}

// ownPowers are those of this process.
func (p *program) ownPowers(ctx context.Context, systemd *dbusctl.Client, cfg *config.Config, log *slog.Logger) (powers, error) {
	host, err := p.newHost(cfg.Settings.DataDir)
	if err != nil {
		return powers{}, err
	}
	host, checks, err := keeper.Probe(ctx, systemd, host)
	if err != nil {
		return powers{}, err
	}
	sandbox := keeper.NewSandbox(systemd, host)
	local, err := keeper.NewLocal(keeper.Options{
		Units: systemd, Hints: systemd.Events(), Host: host, Sandbox: sandbox, StateDir: p.stateDir(), Log: log,
		Closed: keeper.ClosedPorts(cfg.Settings),
	})
	nobody := func(context.Context, *config.Config) error { return nil }
	return powers{local, host, checks, sandbox, nobody}, err
}

// keepersPowers are those of the keeper at path.
func keepersPowers(ctx context.Context, path string, systemd *dbusctl.Client, cfg *config.Config, log *slog.Logger) (powers, error) {
	remote := keeper.NewRemote(keeper.RemoteOptions{Path: path, Units: systemd, Hints: systemd.Events(), Log: log})
	host, checks, err := remote.Look(ctx, cfg.Sum)
	if err != nil {
		return powers{}, err
	}
	remote.Settle(host)
	adopt := func(ctx context.Context, cfg *config.Config) error {
		_, _, err := remote.Look(ctx, cfg.Sum)
		return err
	}
	return powers{remote, host, checks, remoteSandbox{remote}, adopt}, nil
}

// remoteSandbox is a keeper's word on gVisor.
type remoteSandbox struct{ remote *keeper.Remote }

// Look implements sandbox.
func (s remoteSandbox) Look(ctx context.Context) (units.Host, keeper.Check, error) {
	return s.remote.Sandbox(ctx)
}

// ownDirs are the daemon's own directories: what must survive a reboot, and what need not.
// Beside a keeper the directories around them are root's.
func (p *program) ownDirs(separate bool, dataDir string) (state, runtime string) {
	state = filepath.Join(dataDir, ".tenement")
	if dir := p.getenv("STATE_DIRECTORY"); separate && dir != "" {
		state = dir
	}
	return state, p.runtimeDir()
}

// checkKeeper refuses what makes no sense beside a keeper.
func (p *program) checkKeeper(path string) error {
	if path == "" || p.euid != 0 {
		return nil
	}
	return &tenant.Error{
		Code: tenant.CodeInvalid, Op: "serve",
		Msg:  "a daemon of root's needs no keeper",
		Hint: "leave --keeper out, or run it as the user of tenement.service",
	}
}
