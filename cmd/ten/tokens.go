package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"tenement.dev/internal/api"
	"tenement.dev/internal/auth"
	"tenement.dev/internal/client"
	"tenement.dev/internal/config"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// tokenKeeper makes and takes away tokens: the daemon, or this process in its place.
type tokenKeeper interface {
	Tokens(ctx context.Context) ([]wire.Token, error)
	CreateToken(ctx context.Context, want wire.TokenRequest) (wire.NewToken, error)
	RevokeToken(ctx context.Context, id string) error
}

// withTokens has the daemon's tokens worked on, or where none runs those in its registry.
func (p *program) withTokens(ctx context.Context, path string, do func(tokenKeeper) error) error {
	addr, err := p.address()
	if err != nil {
		return err
	}
	err = p.ask(func(c *client.Client) error { return do(c) })
	if !errors.Is(err, client.ErrNoDaemon) || addr.remote {
		return err
	}
	return p.withRegistry(ctx, path, err, do)
}

// withRegistry works on the registry itself. The lock on its directory keeps a daemon from
// starting meanwhile, which would not learn of what is changed.
func (p *program) withRegistry(ctx context.Context, path string, absent error, do func(tokenKeeper) error) (err error) {
	if path == defaultConfig {
		path = p.orSystems(path)
	}
	cfg, err := config.Load(path)
	if errors.As(err, new(config.Faults)) {
		return err // where its data_dir is, is not sure
	}
	if err != nil {
		return &tenant.Error{
			Code: tenant.CodeUnavailable, Op: "find the registry", Err: errors.Join(absent, err),
			Msg:  "no daemon answers, and its registry is not found without " + path,
			Hint: "start the daemon, or name its configuration with --config",
		}
	}
	private, others, err := p.registryDir(cfg, absent)
	if err != nil {
		return err
	}
	held, err := lock(private, "data directory")
	if err != nil {
		return err
	}
	defer held.Close()
	store, err := registry.Open(ctx, filepath.Join(private, registryName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	tokens, err := auth.Load(ctx, store, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	p.note("no daemon runs; working on the registry in %s%s\n", private, others)
	return do(localTokens{tokens})
}

// registryDir is where the daemon that reads a configuration keeps its registry: beside a keeper in the system's state directory.
// What others says of it is for people: that of a directory's tenement.toml is not the installed daemon's.
func (p *program) registryDir(cfg *config.Config, absent error) (dir, others string, err error) {
	dir = filepath.Join(cfg.Settings.DataDir, ".tenement")
	if same, err := filepath.Abs(cfg.Path); err != nil || same != p.systemConfig() {
		return dir, ", of which no daemon with another file than " + cfg.Path + " knows, nor that of `ten install`", nil
	}
	beside := filepath.Join(p.stateDir(), "serve")
	switch {
	case exists(filepath.Join(beside, registryName)):
		return beside, "", nil
	case exists(filepath.Join(dir, registryName)):
		return dir, "", nil
	}
	// It is the daemon that makes it, as its own user.
	return "", "", &tenant.Error{
		Code: tenant.CodeUnavailable, Op: "find the registry", Err: absent,
		Msg:  fmt.Sprintf("the daemon of %s has never run, so there is no registry of it yet", cfg.Path),
		Hint: "start it first: `systemctl start tenement.service`",
	}
}

// localTokens are the tokens in a registry that no daemon uses.
type localTokens struct{ tokens *auth.Tokens }

func (l localTokens) Tokens(context.Context) ([]wire.Token, error) {
	return api.WireTokens(l.tokens.List(), time.Now()), nil
}

func (l localTokens) CreateToken(ctx context.Context, want wire.TokenRequest) (wire.NewToken, error) {
	return api.CreateToken(ctx, l.tokens, want)
}

func (l localTokens) RevokeToken(ctx context.Context, id string) error {
	return l.tokens.Revoke(ctx, id)
}
