package dbusctl

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// listed is a unit as ListUnits… give it, (ssssssouso).
type listed struct {
	Name, Description, Load, Active, Sub, Followed string
	Path                                           dbus.ObjectPath
	JobID                                          uint32
	JobType                                        string
	JobPath                                        dbus.ObjectPath
}

// List gives the loaded units whose names match one of the patterns (glob(7)); without
// a pattern, those of the client's prefix.
func (c *Client) List(ctx context.Context, patterns ...string) ([]units.UnitState, error) {
	if len(patterns) == 0 {
		patterns = []string{c.o.Prefix + "*"}
	}
	var list []listed
	_, err := c.do(ctx, "list", strings.Join(patterns, " "), managerPath, managerIface+".ListUnitsByPatterns", []any{[]string{}, patterns}, &list)
	return states(list), err
}

// States gives the states of the named units, in no particular order; of one that does
// not exist, Load is "not-found".
func (c *Client) States(ctx context.Context, names ...string) ([]units.UnitState, error) {
	if len(names) == 0 {
		return nil, nil
	}
	var list []listed
	_, err := c.do(ctx, "look at", strings.Join(names, " "), managerPath, managerIface+".ListUnitsByNames", []any{names}, &list)
	return states(list), err
}

func states(list []listed) []units.UnitState {
	out := make([]units.UnitState, 0, len(list))
	for _, u := range list {
		out = append(out, units.UnitState{Name: u.Name, Description: u.Description, Load: u.Load, Active: u.Active, Sub: u.Sub})
	}
	return out
}

// Exit says how a loaded service ended last. Errors: ErrNoSuchUnit.
func (c *Client) Exit(ctx context.Context, service string) (units.Exit, error) {
	const op = "ask for the end of"
	values, err := c.get(ctx, op, service, "Service", "Result", "ExecMainCode", "ExecMainStatus", "StatusText")
	if err != nil {
		return units.Exit{}, err
	}
	var exit units.Exit
	var ok [4]bool
	exit.Result, ok[0] = values[0].(string)
	exit.Code, ok[1] = values[1].(int32)
	exit.Status, ok[2] = values[2].(int32)
	exit.Said, ok[3] = values[3].(string)
	if ok != [4]bool{true, true, true, true} {
		err := &valueError{fmt.Sprintf("got a %T, a %T, a %T and a %T", values[0], values[1], values[2], values[3])}
		return units.Exit{}, wrap(op, service, err)
	}
	return exit, nil
}

// Usage says what a loaded service uses now, storage apart; -1 stands for what the
// manager does not know, which is everything while it does not run and what has no
// cgroup controller. Errors: ErrNoSuchUnit.
func (c *Client) Usage(ctx context.Context, service string) (tenant.Usage, error) {
	const op = "ask for the usage of"
	usage := tenant.UnknownUsage
	values, err := c.get(ctx, op, service, "Service", "MemoryCurrent", "TasksCurrent", "CPUUsageNSec")
	if err != nil {
		return usage, err
	}
	for i, field := range []*int64{&usage.Memory, &usage.Tasks, &usage.CPUTime} {
		v, ok := values[i].(uint64)
		if !ok {
			return tenant.UnknownUsage, wrap(op, service, &valueError{fmt.Sprintf("got a %T", values[i])})
		}
		if v <= math.MaxInt64 { // more is "not set"
			*field = int64(v)
		}
	}
	return usage, nil
}

// Property gives a property of a loaded unit; iface is "Unit", "Service", "Socket" and
// so on. The value has the Go type that belongs to its D-Bus type: string, uint64,
// []string and so on, and []any for a structure. Errors: ErrNoSuchUnit,
// ErrUnknownProperty.
func (c *Client) Property(ctx context.Context, unit, iface, name string) (any, error) {
	values, err := c.get(ctx, "get property "+name+" of", unit, iface, name)
	if err != nil {
		return nil, err
	}
	return values[0], nil
}

// get reads properties of a loaded unit. The manager makes up values for one that is
// not, so whether it is, is asked before (which keeps it from making up the unit as
// well) and after.
func (c *Client) get(ctx context.Context, op, unit, iface string, names ...string) ([]any, error) {
	var path dbus.ObjectPath
	if _, err := c.do(ctx, op, unit, managerPath, managerIface+".GetUnit", []any{unit}, &path); err != nil {
		return nil, err
	}
	var values []any
	for _, name := range names {
		var v dbus.Variant
		if _, err := c.do(ctx, op, unit, path, propsIface+".Get", []any{managerName + "." + iface, name}, &v); err != nil {
			return nil, err
		}
		values = append(values, v.Value())
	}
	var load dbus.Variant
	if _, err := c.do(ctx, op, unit, path, propsIface+".Get", []any{unitIface, "LoadState"}, &load); err != nil {
		return nil, err
	}
	if load.Value() == "not-found" {
		return nil, &callError{op: op, unit: unit, cause: ErrNoSuchUnit}
	}
	return values, nil
}

// Version gives the manager's version: its number, as 257, and the whole of it, as
// "257.13-1~deb13u1".
func (c *Client) Version(ctx context.Context) (int, string, error) {
	const op = "ask for systemd's version"
	var v dbus.Variant
	if _, err := c.do(ctx, op, "", managerPath, propsIface+".Get", []any{managerIface, "Version"}, &v); err != nil {
		return 0, "", err
	}
	text, _ := v.Value().(string)
	number, ok := majorVersion(text)
	if !ok {
		return 0, text, wrap(op, "", &valueError{fmt.Sprintf("%q is not a version", v.Value())})
	}
	return number, text, nil
}

// ControlGroup gives the path of the manager's own control group within the cgroup
// hierarchy: "/" or, for a user's manager, such as
// "/user.slice/user-1000.slice/user@1000.service".
func (c *Client) ControlGroup(ctx context.Context) (string, error) {
	const op = "ask for the manager's control group"
	var v dbus.Variant
	if _, err := c.do(ctx, op, "", managerPath, propsIface+".Get", []any{managerIface, "ControlGroup"}, &v); err != nil {
		return "", err
	}
	path, ok := v.Value().(string)
	if !ok {
		return "", wrap(op, "", &valueError{fmt.Sprintf("got a %T", v.Value())})
	}
	return "/" + strings.TrimPrefix(path, "/"), nil
}

// majorVersion gives the number that a version begins with; some distributions put a
// "v" before it.
func majorVersion(text string) (int, bool) {
	text = strings.TrimPrefix(text, "v")
	end := 0
	for end < len(text) && '0' <= text[end] && text[end] <= '9' {
		end++
	}
	number, err := strconv.Atoi(text[:end])
	return number, err == nil
}

// Supports reports whether the manager knows a property of an interface: "Unit",
// "Service", "Socket" and so on. It is the way to learn what may be given to
// StartTransient, since distributions add features to old versions.
func (c *Client) Supports(ctx context.Context, iface, name string) (bool, error) {
	op := "ask whether systemd knows " + iface + "." + name
	// Units that do not exist have all the properties of their type. This name is not
	// one of the prefix's, lest its coming and going be an event.
	suffix := strings.ToLower(iface)
	if iface == "Unit" {
		suffix = "service"
	}
	if err := c.enter(ctx); err != nil {
		return false, wrap(op, "", err)
	}
	defer c.leave()
	l, err := c.link(ctx)
	if err != nil {
		return false, wrap(op, "", err)
	}
	known, err := l.properties(ctx, unitPath("probe-of-tenement."+suffix), managerName+"."+iface)
	if err != nil {
		return false, wrap(op, "", err)
	}
	return known[name], nil
}
