package systemdtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tenement.dev/dbusctl"
	"tenement.dev/units"
)

// testNameTaken: a failed unit keeps its name until it is reset.
func testNameTaken(t *testing.T) {
	c, r := connect(t)
	ctx := within(t, limit)
	name := newName() + ".service"
	removeAfter(t, name)

	err := c.StartTransient(ctx, oneshot(name, "exit 3"))
	var job *dbusctl.JobError
	if !errors.As(err, &job) || job.Result != "failed" || job.Unit != name {
		t.Fatalf("a command that fails: got %v, want a job that failed", err)
	}
	exit, err := c.Exit(ctx, name)
	noError(t, "ask for the exit", err)
	if want := (units.Exit{Result: "exit-code", Code: 1, Status: 3}); exit != want {
		t.Errorf("it ended as %+v, want %+v", exit, want)
	}
	r.waitState(t, 0, name, "failed")

	if err := c.StartTransient(ctx, oneshot(name, "true")); !errors.Is(err, dbusctl.ErrUnitExists) || !strings.Contains(err.Error(), name) {
		t.Errorf("the name of a failed unit: got %v, want %v", err, dbusctl.ErrUnitExists)
	}
	mark := r.mark()
	noError(t, "reset", c.ResetFailed(ctx, name))
	r.waitGone(t, mark, name)
	noError(t, "start anew", c.StartTransient(ctx, oneshot(name, "true")))
	wantState(t, c, name, "loaded", "active", "exited")
	if err := c.StartTransient(ctx, oneshot(name, "true")); !errors.Is(err, dbusctl.ErrUnitExists) {
		t.Errorf("the name of an active unit: got %v, want %v", err, dbusctl.ErrUnitExists)
	}
	noError(t, "start a started unit", c.Start(ctx, name))

	// An aux unit's name is a name, too.
	socket, _, _ := pair(t.TempDir())
	removeAfter(t, socket.Name)
	if err := c.StartTransient(ctx, socket, oneshot(name, "true")); !errors.Is(err, dbusctl.ErrUnitExists) {
		t.Errorf("the name of an aux unit: got %v, want %v", err, dbusctl.ErrUnitExists)
	}
	wantState(t, c, socket.Name, "not-found", "inactive", "dead")

	// A command that cannot be executed.
	other := newName() + ".service"
	removeAfter(t, other)
	missing := service(other, "true")
	missing.Properties = append(missing.Properties, units.Property{Name: "WorkingDirectory", Value: "/does/not/exist"})
	if err := c.StartTransient(ctx, missing); !errors.As(err, &job) || job.Result != "failed" {
		t.Errorf("no working directory: got %v, want a job that failed", err)
	}
	exit, err = c.Exit(ctx, other)
	noError(t, "ask for the exit", err)
	if want := (units.Exit{Result: "exit-code", Code: 1, Status: 200}); exit != want { // CHDIR, systemd.exec(5)
		t.Errorf("it ended as %+v, want %+v", exit, want)
	}
}

func testBadProperties(t *testing.T) {
	c, r := connect(t)
	ctx := within(t, limit)
	for _, test := range []struct {
		prop units.Property
		want error // nil: any
		text string
	}{
		{units.Property{Name: "PrivateDreams", Value: true}, dbusctl.ErrUnknownProperty, "PrivateDreams"},
		{units.Property{Name: "Sockets", Value: []string{"x.socket"}}, dbusctl.ErrUnknownProperty, "Sockets"},
		{units.Property{Name: "MemoryMax", Value: "much"}, nil, ""},
		{units.Property{Name: "Description", Value: "not \xff UTF-8"}, nil, "utf8"},
		{units.Property{Name: "Description", Value: "a\x00b"}, nil, "null"},
		{units.Property{Name: "Description", Value: make(chan int)}, nil, "Description"},
		{units.Property{Name: "Description", Value: nil}, nil, "Description"},
	} {
		socket, svc, _ := pair(t.TempDir())
		removeAfter(t, socket.Name, svc.Name)
		bad := svc
		bad.Properties = append(slices.Clone(svc.Properties), test.prop)
		err1 := c.StartTransient(ctx, bad)
		err2 := c.StartTransient(ctx, socket, bad)
		err3 := c.SetProperties(ctx, "init.scope", true, []units.Property{test.prop})
		for i, err := range []error{err1, err2, err3} {
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%s=%#v, %d: got %v, want %v with %q", test.prop.Name, test.prop.Value, i, err, test.want, test.text)
			}
			if errors.Is(err, dbusctl.ErrDisconnected) {
				t.Errorf("%s=%#v, %d: got %v, which is not the connection's fault", test.prop.Name, test.prop.Value, i, err)
			}
		}
		wantState(t, c, socket.Name, "not-found", "inactive", "dead")
		wantState(t, c, svc.Name, "not-found", "inactive", "dead")
	}
	seen, _ := r.events()
	if slices.Contains(seen, units.UnitState{}) {
		t.Error("the connection was lost on the way")
	}
}

func testNotLoaded(t *testing.T) {
	c, _ := connect(t)
	ctx := within(t, limit)
	name := newName() + ".service"
	noError(t, "stop", c.Stop(ctx, name, newName()+".socket"))
	noError(t, "reset", c.ResetFailed(ctx, name))
	_, err1 := c.Exit(ctx, name)
	_, err2 := c.Property(ctx, name, "Service", "MainPID")
	err3 := c.SetProperties(ctx, name, true, []units.Property{{Name: "Description", Value: "x"}})
	err4 := c.Start(ctx, name)
	for i, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, dbusctl.ErrNoSuchUnit) || !strings.Contains(err.Error(), name) {
			t.Errorf("%d: got %v, want %v", i, err, dbusctl.ErrNoSuchUnit)
		}
	}
	if err := c.Stop(ctx, "no unit name"); err == nil {
		t.Error("something that is no unit name was stopped")
	}
	if _, err := c.Property(ctx, "init.scope", "Scope", "Dreams"); !errors.Is(err, dbusctl.ErrUnknownProperty) {
		t.Errorf("unknown property: got %v, want %v", err, dbusctl.ErrUnknownProperty)
	}
	if _, err := c.Property(ctx, "init.scope", "Service", "MainPID"); !errors.Is(err, dbusctl.ErrUnknownProperty) {
		t.Errorf("property of another type: got %v, want %v", err, dbusctl.ErrUnknownProperty)
	}
	list, err := c.States(ctx)
	if err != nil || len(list) != 0 {
		t.Errorf("the states of no units: got %v, %v", list, err)
	}
	list, err = c.List(ctx, name)
	if err != nil || len(list) != 0 {
		t.Errorf("asking has made the unit: got %v, %v", list, err)
	}

	// One that another unit mentions is in the manager's memory, and still is nothing.
	user := newName() + ".service"
	removeAfter(t, user)
	noError(t, "start", c.StartTransient(ctx, oneshot(user, "true", units.Property{Name: "Wants", Value: []string{name}})))
	list, err = c.List(ctx, name)
	if want := (units.UnitState{Name: name, Description: name, Load: "not-found", Active: "inactive", Sub: "dead"}); err != nil || !slices.Equal(list, []units.UnitState{want}) {
		t.Errorf("got %v, %v, want %v", list, err, want)
	}
	if exit, err := c.Exit(ctx, name); !errors.Is(err, dbusctl.ErrNoSuchUnit) {
		t.Errorf("it ended as %+v, %v", exit, err)
	}
}

// testNames: names with escapes come back as they were.
func testNames(t *testing.T) {
	c, r := connect(t)
	ctx := within(t, limit)
	for _, name := range []string{
		newName() + `-my\x2dapp.service`, newName() + ":a_b.c.service", newName() + "-Ü.service", "un" + newName() + ".service",
	} {
		if strings.Contains(name, "Ü") { // not a character of unit names
			if err := c.StartTransient(ctx, oneshot(name, "true")); err == nil {
				t.Errorf("%s was accepted", name)
			}
			continue
		}
		removeAfter(t, name)
		mark := r.mark()
		noError(t, "start", c.StartTransient(ctx, oneshot(name, "true")))
		wantState(t, c, name, "loaded", "active", "exited")
		if strings.HasPrefix(name, units.Prefix) {
			r.waitState(t, mark, name, "active")
		} else {
			// One that we do hear of comes after one that we should not hear of.
			noError(t, "stop", c.Stop(ctx, name))
			last := newName() + ".service"
			removeAfter(t, last)
			noError(t, "start", c.StartTransient(ctx, oneshot(last, "true")))
			r.waitState(t, mark, last, "active")
			seen, _ := r.events()
			if i := slices.IndexFunc(seen, func(st units.UnitState) bool { return !strings.HasPrefix(st.Name, units.Prefix) }); i >= 0 {
				t.Errorf("got the event %v", seen[i])
			}
		}
	}
}

func testVersion(t *testing.T) {
	c, r := connect(t)
	ctx := within(t, limit)
	number, text, err := c.Version(ctx)
	if want := systemctl(t, "show", "--property=Version", "--value"); err != nil || text != strings.TrimSpace(want) || !strings.HasPrefix(text, fmt.Sprint(number)) {
		t.Errorf("got %d, %q, %v, want %q", number, text, err, want)
	}
	for range 2 {
		for _, test := range []struct {
			iface, name string
			want        bool
		}{
			{"Service", "PrivatePIDs", number >= 257},
			{"Service", "ExecStartEx", true},
			{"Service", "PrivateDreams", false},
			{"Socket", "Listen", true},
			{"Socket", "MainPID", false},
			{"Unit", "CollectMode", true},
			{"Slice", "MemoryMax", true},
		} {
			got, err := c.Supports(ctx, test.iface, test.name)
			if err != nil || got != test.want {
				t.Errorf("%s.%s: got %v, %v, want %v", test.iface, test.name, got, err, test.want)
			}
		}
	}
	if got, err := c.Supports(ctx, "Dream", "X"); err == nil {
		t.Errorf("an interface that is not there: got %v, want an error", got)
	}
	if n := r.mark(); n != 0 {
		t.Errorf("asking made %d events", n)
	}
}

func testSetProperties(t *testing.T) {
	c, _ := connect(t)
	ctx := within(t, limit)
	name := newName() + ".service"
	removeAfter(t, name)
	noError(t, "start", c.StartTransient(ctx, service(name, "exec sleep 1000")))
	noError(t, "set", c.SetProperties(ctx, name, true, []units.Property{
		{Name: "MemoryMax", Value: uint64(123 << 20)},
		{Name: "TasksMax", Value: uint64(77)},
		{Name: "Description", Value: "other"},
	}))
	usage, err := c.Usage(ctx, name)
	if err != nil || usage.Storage != -1 || usage.CPUTime < -1 {
		t.Errorf("usage: got %+v, %v", usage, err)
	}
	if _, err := c.Usage(ctx, "not-"+name); !errors.Is(err, dbusctl.ErrNoSuchUnit) {
		t.Errorf("usage of an unknown unit: got %v, want %v", err, dbusctl.ErrNoSuchUnit)
	}
	if err := c.SetProperties(ctx, "not-"+name, true, []units.Property{{Name: "TasksMax", Value: uint64(77)}}); !errors.Is(err, dbusctl.ErrNoSuchUnit) {
		t.Errorf("set properties of an unknown unit: got %v, want %v", err, dbusctl.ErrNoSuchUnit)
	}
	for _, test := range []struct {
		iface, name string
		want        any
	}{
		{"Service", "MemoryMax", uint64(123 << 20)},
		{"Service", "TasksMax", uint64(77)},
		{"Unit", "Description", "other"},
		{"Unit", "Transient", true},
	} {
		if got, err := c.Property(ctx, name, test.iface, test.name); err != nil || got != test.want {
			t.Errorf("%s: got %v, %v, want %v", test.name, got, err, test.want)
		}
	}
	err = c.SetProperties(ctx, name, true, []units.Property{{Name: "MemoryMax", Value: uint64(1)}, {Name: "User", Value: "root"}})
	if !errors.Is(err, dbusctl.ErrUnknownProperty) || !strings.Contains(err.Error(), "User") {
		t.Errorf("a property that cannot be changed: got %v, want %v with its name", err, dbusctl.ErrUnknownProperty)
	}
	if got, err := c.Property(ctx, name, "Service", "MemoryMax"); err != nil || got != uint64(123<<20) {
		t.Errorf("a refused change changed something: %v, %v", got, err)
	}
}
