package main

import (
	"context"
	"path/filepath"

	"tenement.dev/internal/keeper"
	"tenement.dev/internal/tenant"
)

// keeperSocketName is the keeper's socket in the runtime directory of the system's daemon.
const keeperSocketName = "keeper.sock"

// grantData has the keeper of this machine, if there is one, hand an instance's data to the
// system's daemon, which gets it only when root asks: root asks here.
func (p *program) grantData(ctx context.Context, id tenant.ID) error {
	path := filepath.Join(p.run, "tenement", keeperSocketName)
	if p.euid != 0 || !isSocket(path) {
		return nil
	}
	addr, err := p.address()
	if err != nil || addr.remote || addr.path != filepath.Join(p.run, "tenement", socketName) {
		return err // another daemon is meant
	}
	return keeper.Grant(ctx, path, id)
}
