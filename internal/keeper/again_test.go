package keeper

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// lossy is a service manager whose bus restarts during each second call.
type lossy struct {
	calls int
	fault error
}

func (l *lossy) call() error {
	if l.calls++; l.calls%2 == 1 {
		return fmt.Errorf("call: %w", l.fault)
	}
	return nil
}

func (l *lossy) StartTransient(context.Context, units.Unit, ...units.Unit) error { return l.call() }
func (l *lossy) Stop(context.Context, ...string) error                           { return l.call() }
func (l *lossy) Kill(context.Context, string, int32) error                       { return l.call() }
func (l *lossy) ResetFailed(context.Context, ...string) error                    { return l.call() }

func (l *lossy) List(context.Context, ...string) ([]units.UnitState, error) {
	return []units.UnitState{{Name: "x"}}, l.call()
}

func (l *lossy) Exit(context.Context, string) (units.Exit, error) {
	return units.Exit{Result: "x"}, l.call()
}

func (l *lossy) SetProperties(context.Context, string, bool, []units.Property) error {
	return l.call()
}

func (l *lossy) Usage(context.Context, string) (tenant.Usage, error) {
	return tenant.Usage{Memory: 7}, l.call()
}

// Every call survives the loss of its connection, and no other failure is repeated.
func TestCallsAreMadeAgain(t *testing.T) {
	ctx := t.Context()
	l := &lossy{}
	var u Units = persistent{l}
	calls := map[string]func() error{
		"StartTransient": func() error { return u.StartTransient(ctx, units.Unit{}) },
		"Stop":           func() error { return u.Stop(ctx, "x") },
		"Kill":           func() error { return u.Kill(ctx, "x", 2) },
		"ResetFailed":    func() error { return u.ResetFailed(ctx, "x") },
		"SetProperties":  func() error { return u.SetProperties(ctx, "x", true, nil) },
		"List": func() error {
			list, err := u.List(ctx)
			if err == nil && len(list) != 1 {
				err = fmt.Errorf("got %v", list)
			}
			return err
		},
		"Exit": func() error {
			exit, err := u.Exit(ctx, "x")
			if err == nil && exit.Result != "x" {
				err = fmt.Errorf("got %v", exit)
			}
			return err
		},
		"Usage": func() error {
			usage, err := u.Usage(ctx, "x")
			if err == nil && usage.Memory != 7 {
				err = fmt.Errorf("got %v", usage)
			}
			return err
		},
	}
	other := errors.New("access denied")
	for name, call := range calls {
		l.calls, l.fault = 0, units.ErrDisconnected
		if err := call(); err != nil || l.calls != 2 {
			t.Errorf("%s: got %v after %d calls, want success with the second", name, err, l.calls)
		}
		l.calls, l.fault = 0, other
		if err := call(); !errors.Is(err, other) || l.calls != 1 {
			t.Errorf("%s: got %v after %d calls, want %v after one", name, err, l.calls, other)
		}
	}
}
