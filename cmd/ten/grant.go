package main

import (
	"context"
	"path/filepath"
	"time"

	"tenement.dev/internal/keeper"
	"tenement.dev/internal/tenant"
)

// keeperSocketName is the keeper's socket in the runtime directory of the system's daemon.
const keeperSocketName = "keeper.sock"

// withdrawTimeout bounds the wait for a keeper that is told that root's word has ended.
const withdrawTimeout = 5 * time.Second

// grantData has the keeper of this machine, if there is one, hand an instance's data to the
// system's daemon, which gets it only when root asks: root asks here. withdraw is for when
// that is over, however it went: what was refused or cut off leaves no grant to others.
func (p *program) grantData(ctx context.Context, id tenant.ID) (withdraw func(), err error) {
	path := filepath.Join(p.run, "tenement", keeperSocketName)
	if p.euid != 0 || !isSocket(path) {
		return func() {}, nil
	}
	addr, err := p.address()
	if err != nil || addr.remote || addr.path != filepath.Join(p.run, "tenement", socketName) {
		return func() {}, err // another daemon is meant
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTimeout)
		defer cancel()
		_ = keeper.Withdraw(ctx, path, id) // it ends by itself otherwise, a while later
	}, keeper.Grant(ctx, path, id)
}
