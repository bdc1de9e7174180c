package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// Units is what Local needs of the service manager; dbusctl.Client has it.
type Units interface {
	StartTransient(ctx context.Context, main units.Unit, aux ...units.Unit) error
	Stop(ctx context.Context, names ...string) error
	Kill(ctx context.Context, service string, signal int32) error
	ResetFailed(ctx context.Context, names ...string) error
	List(ctx context.Context, patterns ...string) ([]units.UnitState, error)
	Exit(ctx context.Context, service string) (units.Exit, error)
	SetProperties(ctx context.Context, name string, runtime bool, props []units.Property) error
	Usage(ctx context.Context, service string) (tenant.Usage, error)
}

// Local does the keeper's work in this process, with its rights: as root against the
// system's manager, or as a user against that user's own.
type Local struct {
	view
	sandbox  *Sandbox  // nil where host says it all
	accounts *accounts // nil for a user's manager
	fence    *fence    // nil where there can be none
	vault    *vault
	cgroups  cgroups
	proxy    *tenant.Account // whom the doorbells are for, nil for this process's user
	walking  chan struct{}   // held by the one who walks through data
	walkTime time.Duration   // how long that may take
}

// Options is what a Local needs.
type Options struct {
	Units Units
	// Hints are the manager's events; a zero one stands for all units.
	Hints <-chan units.UnitState
	// Host is what Probe found out.
	Host units.Host
	// Sandbox finds out about gVisor, when it is first wanted.
	Sandbox *Sandbox
	// StateDir holds what must survive a reboot; used as root only.
	StateDir string
	// Closed are TCP ports of this machine, the daemon's own, that instances shall not
	// connect to; the fence sees to it where there is one.
	Closed []int
	// Proxy is the account that the doorbells are for, nil for that of this process.
	Proxy *tenant.Account
	Log   *slog.Logger
}

// NewLocal makes a Local.
func NewLocal(o Options) (*Local, error) {
	resolved, err := filepath.EvalSymlinks(o.Host.DataRoot)
	if errors.Is(err, fs.ErrNotExist) {
		resolved, err = o.Host.DataRoot, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at the data directory: %w", err)
	}
	o.Host.RealDataRoot = resolved
	if o.Proxy != nil {
		o.Host.SocketUser = o.Proxy.Name
	}
	l := &Local{
		sandbox: o.Sandbox, vault: newVault(o.Host, o.Log), proxy: o.Proxy,
		walking: make(chan struct{}, 1), walkTime: walkTime, cgroups: findCgroups(o.Host.User),
	}
	l.set(o)
	if !o.Host.User {
		a, err := openAccounts(filepath.Join(o.StateDir, "uids.json"), userdbDir)
		if err != nil {
			return nil, err
		}
		if err := a.adopt(o.Host.DataRoot); err != nil {
			return nil, err
		}
		l.accounts = a
		if l.fence, err = raiseFence(o.Host, o.Closed); err != nil {
			return nil, err
		}
	}
	if err := l.openDoors(); err != nil {
		return nil, err
	}
	return l, nil
}

// raiseFence raises the fence where the machine can have one. Where it cannot, the one
// of an earlier daemon would keep new instances from their own ports.
func raiseFence(h units.Host, closed []int) (*fence, error) {
	const table = "tenement"
	dir := filepath.Join(h.RuntimeDir, "fence")
	if h.ConnectFence {
		return openFence(table, dir, closed...)
	}
	_ = dropFence(table, dir) // there is none, as a rule
	return nil, nil
}

// Run passes the manager's events on and keeps the fence up until ctx ends.
func (l *Local) Run(ctx context.Context) error {
	if l.fence != nil {
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { l.fence.watch(ctx, l.log) })
	}
	l.forward(ctx, l.bound)
	return nil
}

// bound limits the cgroups of an instance that has been started.
func (l *Local) bound(id tenant.ID) {
	if err := l.cgroups.bound(id); err != nil {
		l.log.Warn("cgroups not bounded", "instance", id, "err", err)
	}
}

// Load makes the instance's account, directories and units. When it fails nothing of
// it is left but the account's number.
func (l *Local) Load(ctx context.Context, spec tenant.Spec) error {
	host := l.host
	if spec.Isolation == tenant.IsolationSandbox && l.sandbox != nil {
		var err error
		if host, _, err = l.sandbox.Look(ctx); err != nil {
			return fmt.Errorf("load %s: %w", spec.ID, err)
		}
		host.RealDataRoot, host.SocketUser = l.host.RealDataRoot, l.host.SocketUser
	}
	if _, err := os.Lstat(host.Doorbell(spec.ID)); err == nil { // its units exist
		if err := l.notElsewhere(ctx, spec.ID); err != nil {
			return err
		}
	} else if errors.Is(err, fs.ErrNotExist) {
		// A container that is reset keeps its cgroups, frozen ones too, and the manager would
		// wait for ever, and with it the machine, for a process that it makes in one. One
		// that is in use stays as it is.
		_ = l.cgroups.remove(spec.ID)
	}
	account, owner, err := l.account(spec)
	if err != nil {
		return err
	}
	credentials, err := l.vault.load(spec)
	if err != nil {
		return errors.Join(err, l.vault.unload(spec.ID))
	}
	socket, service, err := host.Render(spec, account, credentials...)
	if err != nil {
		return errors.Join(err, l.vault.unload(spec.ID))
	}
	if l.ownAccount(spec) {
		if err := l.accounts.publish(spec.ID, owner.uid, spec.DataDir); err != nil {
			return errors.Join(err, l.removeRuntime(spec.ID))
		}
		if l.fence != nil && spec.Network == tenant.NetworkHost {
			if err := l.fence.allow(owner.uid, spec.Port); err != nil {
				return errors.Join(err, l.removeRuntime(spec.ID))
			}
		}
	}
	if err := l.makeDirs(spec, owner); err != nil {
		return errors.Join(err, l.removeRuntime(spec.ID))
	}
	if err := makeBundle(host, spec, owner); err != nil {
		return errors.Join(err, l.removeRuntime(spec.ID))
	}
	if err := l.limitStorage(ctx, spec.ID, spec.Limits[tenant.LimitStorage]); err != nil {
		return errors.Join(err, l.removeRuntime(spec.ID))
	}
	err = l.systemd.StartTransient(ctx, socket, service)
	if errors.Is(err, units.ErrExists) {
		// The name is still in use: it failed, or is from an earlier daemon.
		if err := l.notElsewhere(ctx, spec.ID); err != nil {
			return errors.Join(err, l.removeRuntime(spec.ID))
		}
		if err := l.clear(ctx, spec.ID); err != nil {
			return err
		}
		err = l.systemd.StartTransient(ctx, socket, service)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("create units of %s: %w", spec.ID, err), l.removeRuntime(spec.ID))
	}
	return nil
}

// clear makes the manager forget an instance's units.
func (l *Local) clear(ctx context.Context, id tenant.ID) error {
	socket, service := units.SocketName(id), units.ServiceName(id)
	// The socket first, or it would start the service again.
	if err := l.systemd.Stop(ctx, socket); err != nil {
		return fmt.Errorf("stop %s: %w", socket, err)
	}
	if err := l.stop(ctx, service); err != nil {
		return err
	}
	if err := l.systemd.ResetFailed(ctx, socket, service); err != nil {
		return fmt.Errorf("reset %s: %w", service, err)
	}
	l.removeCgroups(id)
	return nil
}

// removeCgroups removes cgroups that the manager has left. That it may fail to is no
// reason to keep the rest.
func (l *Local) removeCgroups(id tenant.ID) {
	if err := l.cgroups.remove(id); err != nil {
		l.log.Warn("cgroups left behind", "instance", id, "err", err)
	}
}

// Unload stops the instance and makes the manager forget it. Its data stays.
func (l *Local) Unload(ctx context.Context, id tenant.ID) error {
	if others, err := l.belongsElsewhere(ctx, id); err != nil || others {
		return err
	}
	if err := l.clear(ctx, id); err != nil {
		return err
	}
	return l.removeRuntime(id)
}

// removeRuntime removes what an instance has below /run.
func (l *Local) removeRuntime(id tenant.ID) error {
	err := errors.Join(removeTree(l.host.SocketDir(id)), os.RemoveAll(l.host.BundleDir(id)), l.vault.unload(id))
	if l.accounts != nil {
		if uid, ok := l.accounts.known(id); ok {
			err = errors.Join(err, l.accounts.withdraw(uid))
			if l.fence != nil {
				err = errors.Join(err, l.fence.forbid(uid))
			}
		}
	}
	if err != nil {
		return fmt.Errorf("tidy up after %s: %w", id, err)
	}
	return nil
}

// Stop stops the instance and returns when it has stopped. How it took the stop is no
// news: a unit that failed over it is inactive again.
func (l *Local) Stop(ctx context.Context, id tenant.ID) error {
	if others, err := l.belongsElsewhere(ctx, id); err != nil || others {
		return err
	}
	service := units.ServiceName(id)
	if err := l.stop(ctx, service); err != nil {
		return err
	}
	if err := l.systemd.ResetFailed(ctx, service); err != nil {
		return fmt.Errorf("reset %s: %w", service, err)
	}
	l.removeCgroups(id)
	return nil
}

// Wipe removes the instance's data directory, and with kept what restores have kept.
func (l *Local) Wipe(_ context.Context, id tenant.ID, kept bool) error {
	err := removeTree(l.dataDir(id))
	if kept {
		err = errors.Join(err, l.removeKept(id))
	}
	return err
}
