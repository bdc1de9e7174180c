package keeper

import (
	"context"
	"errors"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// maxAgain is how often a call is made that loses its connection to the manager. Each time
// that takes a connection which is lost; the call's context ends it sooner.
const maxAgain = 20

// persistent repeats calls whose connection was lost, as happens to all that are in flight
// when the bus restarts. It is not known then whether they had an effect, which does not
// matter here: each asks for a state and not for a change, and a unit that turns out to
// exist already is made anew by Load.
//
// It has each method by itself, so that a new one of Units cannot be forgotten here.
type persistent struct{ units Units }

// again calls f until it does not lose the connection, a few times at most. Without a
// connection f itself waits for one.
func again(ctx context.Context, f func() error) error {
	for n := 1; ; n++ {
		err := f()
		if !errors.Is(err, units.ErrDisconnected) || n == maxAgain || ctx.Err() != nil {
			return err
		}
	}
}

func (p persistent) StartTransient(ctx context.Context, main units.Unit, aux ...units.Unit) error {
	return again(ctx, func() error { return p.units.StartTransient(ctx, main, aux...) })
}

func (p persistent) Stop(ctx context.Context, names ...string) error {
	return again(ctx, func() error { return p.units.Stop(ctx, names...) })
}

func (p persistent) Kill(ctx context.Context, service string, signal int32) error {
	return again(ctx, func() error { return p.units.Kill(ctx, service, signal) })
}

func (p persistent) ResetFailed(ctx context.Context, names ...string) error {
	return again(ctx, func() error { return p.units.ResetFailed(ctx, names...) })
}

func (p persistent) List(ctx context.Context, patterns ...string) (list []units.UnitState, err error) {
	err = again(ctx, func() error {
		list, err = p.units.List(ctx, patterns...)
		return err
	})
	return list, err
}

func (p persistent) Exit(ctx context.Context, service string) (exit units.Exit, err error) {
	err = again(ctx, func() error {
		exit, err = p.units.Exit(ctx, service)
		return err
	})
	return exit, err
}

func (p persistent) SetProperties(ctx context.Context, name string, runtime bool, props []units.Property) error {
	return again(ctx, func() error { return p.units.SetProperties(ctx, name, runtime, props) })
}

func (p persistent) Usage(ctx context.Context, service string) (usage tenant.Usage, err error) {
	err = again(ctx, func() error {
		usage, err = p.units.Usage(ctx, service)
		return err
	})
	return usage, err
}
