package dbusctl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"tenement.dev/units"
)

// recheck is how long a wait for a job goes on before it asks whether the job still
// exists, and between two such questions.
const recheck = 5 * time.Second

// property and auxUnit are the structures of StartTransientUnit, (sv) and (sa(sv)).
type property struct {
	Name  string
	Value dbus.Variant
}

type auxUnit struct {
	Name       string
	Properties []property
}

// StartTransient creates the units, starts main and waits until that is done; aux
// units are loaded only. A failed call leaves nothing behind, with one exception: when
// the start itself failed, which is a *JobError, or ctx ended while it was under way,
// the units exist.
//
// Errors: ErrUnitExists if main is loaded; ErrUnknownProperty with the property's name
// if this systemd does not know it; *JobError; ErrDisconnected.
func (c *Client) StartTransient(ctx context.Context, main units.Unit, aux ...units.Unit) error {
	props, err := properties(main)
	if err != nil {
		return wrap("start", main.Name, err)
	}
	others := make([]auxUnit, 0, len(aux))
	for _, u := range aux {
		list, err := properties(u)
		if err != nil {
			return wrap("load", u.Name, err)
		}
		others = append(others, auxUnit{u.Name, list})
	}
	return c.job(ctx, "start", main.Name, "StartTransientUnit", main.Name, "fail", props, others)
}

// Start starts a loaded unit, or one that has a file, and waits until that is done.
// Errors: ErrNoSuchUnit, *JobError, ErrDisconnected.
func (c *Client) Start(ctx context.Context, name string) error {
	return c.job(ctx, "start", name, "StartUnit", name, "replace")
}

// maxStops is how often a stop is asked for that others' starts replace, and stopPause what
// passes before the second, doubled each time: 5 s in all. A start that is let begin takes the
// connection that has caused it.
const (
	maxStops  = 10
	stopPause = 10 * time.Millisecond
)

// Stop stops all units in parallel and waits until all are stopped. That a unit is not
// loaded is fine, and a stop is asked for again where a start has replaced it, as that
// of a socket with a connection waiting does. Errors, joined: *JobError, ErrDisconnected.
func (c *Client) Stop(ctx context.Context, names ...string) error {
	return each(names, func(name string) error {
		err := c.job(ctx, "stop", name, "StopUnit", name, "replace")
		for n, pause := 1, stopPause; n < maxStops && wasReplaced(err); n, pause = n+1, 2*pause {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return err
			}
			err = c.job(ctx, "stop", name, "StopUnit", name, "replace")
		}
		if errors.Is(err, ErrNoSuchUnit) {
			return nil
		}
		return err
	})
}

// wasReplaced reports whether a job ended because of another one for the same unit.
func wasReplaced(err error) bool {
	var job *JobError
	return errors.As(err, &job) && job.Result == resultCanceled
}

// Kill sends a signal to the main process of a service. That it has none, or is not
// loaded, is fine.
func (c *Client) Kill(ctx context.Context, service string, signal int32) error {
	_, err := c.do(ctx, "signal", service, managerPath, managerIface+".KillUnit", []any{service, "main", signal})
	if errors.Is(err, ErrNoSuchUnit) || replyName(err) == errNoSuchProcess {
		return nil
	}
	return err
}

// ResetFailed makes failed units inactive, so that the manager may forget them and
// their names are free again. That a unit is not loaded is fine.
func (c *Client) ResetFailed(ctx context.Context, names ...string) error {
	return each(names, func(name string) error {
		_, err := c.do(ctx, "reset", name, managerPath, managerIface+".ResetFailedUnit", []any{name})
		if errors.Is(err, ErrNoSuchUnit) {
			return nil
		}
		return err
	})
}

// SetProperties changes properties of a loaded unit; with runtime, until the next
// boot. Only those of the control group, and the description, can be changed in a
// running unit (systemd.resource-control(5)). Errors: ErrNoSuchUnit,
// ErrUnknownProperty.
func (c *Client) SetProperties(ctx context.Context, name string, runtime bool, props []units.Property) error {
	list, err := properties(units.Unit{Name: name, Properties: props})
	if err == nil {
		_, err = c.do(ctx, "set properties of", name, managerPath, managerIface+".SetUnitProperties", []any{name, runtime, list})
		return err
	}
	return wrap("set properties of", name, err)
}

// job makes a call that starts a job and waits for the job's end.
func (c *Client) job(ctx context.Context, op, unit, method string, args ...any) error {
	var job dbus.ObjectPath
	l, err := c.do(ctx, op, unit, managerPath, managerIface+"."+method, args, &job)
	if err != nil {
		return err
	}
	result, err := c.wait(ctx, l, job, op, unit)
	if err != nil {
		return wrap(op, unit, err)
	}
	if result != resultDone {
		return &JobError{Op: op, Unit: unit, Result: result}
	}
	return nil
}

// wait waits for the end of a job.
func (c *Client) wait(ctx context.Context, l *link, job dbus.ObjectPath, op, unit string) (string, error) {
	w := l.jobs.wait(job)
	defer l.jobs.forget(w)
	slow := time.NewTicker(recheck)
	defer slow.Stop()
	for {
		select {
		case result := <-w.result:
			return result, nil
		case <-l.lost():
			select {
			case result := <-w.result: // it came before the end
				return result, nil
			default:
				return "", ErrDisconnected
			}
		case <-ctx.Done():
			return "", ctx.Err()
		case <-w.look:
		case <-slow.C:
		}
		gone, err := c.isGone(ctx, l, job)
		if err != nil {
			return "", err
		}
		if !gone {
			continue
		}
		// What was sent before the answer has been handled before it.
		select {
		case result := <-w.result:
			return result, nil
		default:
			return c.guess(ctx, op, unit)
		}
	}
}

// isGone asks whether a job has ended. A manager that is away for the moment, or a
// context that ended, is no answer: the caller waits on.
func (c *Client) isGone(ctx context.Context, l *link, job dbus.ObjectPath) (bool, error) {
	number := string(job[strings.LastIndexByte(string(job), '/')+1:])
	id, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return false, &valueError{fmt.Sprintf("the manager gave %q as a job", job)}
	}
	if c.enter(ctx) != nil {
		return false, nil
	}
	defer c.leave()
	err = l.call(ctx, managerPath, managerIface+".GetJob", uint32(id)).Err
	return replyName(err) == errNoSuchJob, nil
}

// guess gives the result of a job whose end was lost, as the unit's state tells it.
func (c *Client) guess(ctx context.Context, op, unit string) (string, error) {
	list, err := c.States(ctx, unit)
	if err != nil {
		return "", err
	}
	result := ResultUnknown
	for _, st := range list {
		running := st.Active == "active" || st.Active == "reloading" || st.Active == "refreshing"
		stopped := st.Active == "inactive" || st.Active == "failed"
		if op == "start" && running || op == "stop" && stopped {
			result = resultDone
		}
	}
	return result, nil
}

// each runs f for all names in parallel and joins the errors.
func each(names []string, f func(name string) error) error {
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = f(name) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// properties makes a unit's properties ready for a message.
func properties(u units.Unit) ([]property, error) {
	list := make([]property, 0, len(u.Properties))
	for _, p := range u.Properties {
		v, err := variant(p.Value)
		if err != nil {
			return nil, fmt.Errorf("property %s: %w", p.Name, err)
		}
		list = append(list, property{p.Name, v})
	}
	return list, nil
}

// variant gives v the D-Bus type that belongs to its Go type.
func variant(v any) (_ dbus.Variant, err error) {
	defer func() {
		if recover() != nil { // godbus panics on types that have none
			err = &valueError{fmt.Sprintf("a %T has no place in a D-Bus message", v)}
		}
	}()
	return dbus.MakeVariant(v), nil
}
