package systemdtest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"tenement.dev/dbusctl"
	"tenement.dev/units"
)

var names = struct {
	sync.Mutex
	n int
}{}

// newName gives an unused instance name, without a suffix.
func newName() string {
	names.Lock()
	defer names.Unlock()
	names.n++
	return fmt.Sprintf("%stest@%d-%d", units.Prefix, os.Getpid(), names.n)
}

// service is a unit that runs a shell script.
func service(name, script string, props ...units.Property) units.Unit {
	return units.Unit{Name: name, Properties: append([]units.Property{
		{Name: "Description", Value: description},
		{Name: "Type", Value: "exec"},
		{Name: "TimeoutStopUSec", Value: uint64(limit.Microseconds())},
		{Name: "ExecStartEx", Value: []units.Exec{{Path: "/bin/sh", Argv: []string{"sh", "-c", script}, Options: []string{"no-env-expand"}}}},
	}, props...)}
}

// oneshot is a unit whose start job takes as long as the script.
func oneshot(name, script string, props ...units.Property) units.Unit {
	return service(name, script, append([]units.Property{
		{Name: "Type", Value: "oneshot"},
		{Name: "RemainAfterExit", Value: true},
	}, props...)...)
}

// one gives the state of one unit.
func one(t *testing.T, c *dbusctl.Client, name string) units.UnitState {
	t.Helper()
	list, err := c.States(within(t, limit), name)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 {
		t.Fatalf("States(%s) gave %v", name, list)
	}
	return list[0]
}

// description is that of each service of these tests. Where a unit has none, systemd
// gives its name (systemd.unit(5)).
const description = "test of dbusctl"

func wantState(t *testing.T, c *dbusctl.Client, name, load, active, sub string) {
	t.Helper()
	described := name
	if load == "loaded" && strings.HasSuffix(name, ".service") {
		described = description
	}
	wantDescribed(t, c, name, described, load, active, sub)
}

func wantDescribed(t *testing.T, c *dbusctl.Client, name, described, load, active, sub string) {
	t.Helper()
	want := units.UnitState{Name: name, Description: described, Load: load, Active: active, Sub: sub}
	if got := one(t, c, name); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// removeAfter stops and forgets units when the test ends.
func removeAfter(t *testing.T, names ...string) {
	t.Cleanup(func() {
		c, err := dbusctl.Dial(context.Background(), dbusctl.Options{Scope: scope(), Prefix: units.Prefix})
		if err != nil {
			t.Error(err)
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { _ = c.Run(ctx) })
		if err := c.Stop(ctx, names...); err != nil {
			t.Error(err)
		}
		if err := c.ResetFailed(ctx, names...); err != nil {
			t.Error(err)
		}
		cancel()
		wg.Wait()
	})
}
