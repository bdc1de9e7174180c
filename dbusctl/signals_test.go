package dbusctl

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/godbus/dbus/v5"

	"tenement.dev/units"
)

// testLink is a link that only gets signals.
func testLink() *link {
	return &link{
		prefix:  unitPathPrefix + escapeLabel("tenement-"),
		events:  newEvents(),
		jobs:    newJobs(),
		refresh: make(chan struct{}, 1),
		up:      make(chan struct{}),
	}
}

func signal(sender string, path dbus.ObjectPath, name string, body ...any) *dbus.Signal {
	return &dbus.Signal{Sender: sender, Path: path, Name: name, Body: body}
}

func changed(sender, unit, iface, active, sub string) *dbus.Signal {
	return signal(sender, unitPath(unit), propsIface+".PropertiesChanged", iface, map[string]dbus.Variant{
		"ActiveState": dbus.MakeVariant(active), "SubState": dbus.MakeVariant(sub), "CanStart": dbus.MakeVariant(true),
	}, []string{})
}

func deliver(l *link, signals ...*dbus.Signal) {
	for _, s := range signals {
		l.DeliverSignal("", "", s)
	}
}

func wantNext(t *testing.T, e *events, want ...units.UnitState) {
	t.Helper()
	for _, want := range want {
		ev, ok := e.next()
		if !ok || ev.state != want {
			t.Errorf("got the event %v, %v, want %v", ev.state, ok, want)
		}
		e.sent(ev)
	}
	if ev, ok := e.next(); ok {
		t.Errorf("got the event %v, want none", ev.state)
	}
}

func TestSignals(t *testing.T) {
	l := testLink()
	l.setOwner(":1.1", false)
	deliver(l,
		changed(":1.1", "tenement-a@b.service", unitIface, "active", "running"),
		changed(":1.1", "tenement-a@b.service", managerName+".Service", "active", "other interface"),
		changed(":1.1", "tenementor.service", unitIface, "active", "other prefix"),
		changed(":1.7", "tenement-evil@b.service", unitIface, "active", "other sender"),
		signal(":1.1", managerPath, managerIface+".UnitRemoved", "tenement-c@d.socket", unitPath("tenement-c@d.socket")),
		signal(":1.1", managerPath, managerIface+".UnitRemoved", "other.socket", unitPath("other.socket")),
		signal(":1.7", managerPath, managerIface+".UnitRemoved", "tenement-evil@b.service", unitPath("tenement-evil@b.service")),
		signal(":1.1", managerPath, managerIface+".JobRemoved", uint32(7), jobPath(7), "x.service", "done"),
		signal(":1.7", managerPath, managerIface+".JobRemoved", uint32(8), jobPath(8), "x.service", "done"),
		signal(":1.7", managerPath, managerIface+".Reloading", false),
		signal(":1.1", managerPath, managerIface+".Reloading", true),
		signal(":1.7", "/org/freedesktop/DBus", busIface+".NameOwnerChanged", managerName, ":1.1", ":1.7"),
		signal(busName, "/org/freedesktop/DBus", busIface+".NameOwnerChanged", "some.name", ":1.1", ":1.7"),
	)
	wantNext(t, l.events,
		units.UnitState{Name: "tenement-a@b.service", Load: "loaded", Active: "active", Sub: "running"},
		units.UnitState{Name: "tenement-c@d.socket", Load: "not-found", Active: "inactive", Sub: "dead"},
	)
	if w := l.jobs.wait(jobPath(7)); len(w.result) != 1 {
		t.Error("the end of a job was not noted")
	}
	if w := l.jobs.wait(jobPath(8)); len(w.result) != 0 {
		t.Error("a stranger ended a job")
	}
	if len(l.refresh) != 0 {
		t.Error("refresh was asked for by a stranger, or at the beginning of a reload")
	}
	deliver(l, signal(":1.1", managerPath, managerIface+".Reloading", false))
	if len(l.refresh) != 1 {
		t.Error("the end of a reload did not ask for a refresh")
	}
}

func TestSignalsMalformed(t *testing.T) {
	for _, s := range []*dbus.Signal{
		signal(":1.1", managerPath, managerIface+".UnitRemoved"),
		signal(":1.1", managerPath, managerIface+".JobRemoved", "7", jobPath(7), "x.service", "done"),
		signal(":1.1", managerPath, managerIface+".Reloading", "no"),
		signal(":1.1", unitPath("tenement-a")+"_", propsIface+".PropertiesChanged", unitIface, map[string]dbus.Variant{}, []string{}),
		signal(":1.1", unitPath("tenement-a"), propsIface+".PropertiesChanged", unitIface, map[string]dbus.Variant{}, []string{}),
		signal(":1.1", unitPath("tenement-a"), propsIface+".PropertiesChanged", unitIface, map[string]dbus.Variant{
			"ActiveState": dbus.MakeVariant(7), "SubState": dbus.MakeVariant("x"),
		}, []string{}),
		signal(":1.1", unitPath("tenement-a"), propsIface+".PropertiesChanged", 3),
	} {
		l := testLink()
		l.setOwner(":1.1", false)
		deliver(l, s)
		wantNext(t, l.events, units.UnitState{})
	}
}

// TestOwner: the manager leaves the bus and comes back under another name.
func TestOwner(t *testing.T) {
	l := testLink()
	isUp := func() bool {
		select {
		case <-l.ready():
			return true
		default:
			return false
		}
	}
	owner := func(before, after string) *dbus.Signal {
		return signal(busName, "/org/freedesktop/DBus", busIface+".NameOwnerChanged", managerName, before, after)
	}
	l.setOwner(":1.1", false)
	if !isUp() {
		t.Error("not up with an owner")
	}
	deliver(l, owner(":1.1", ""), changed(":1.1", "tenement-a", unitIface, "active", "late"))
	if isUp() || len(l.refresh) != 0 {
		t.Error("up without an owner")
	}
	deliver(l, owner("", ":1.2"), changed(":1.2", "tenement-a", unitIface, "active", "new"))
	if !isUp() || len(l.refresh) != 1 {
		t.Error("not up, or no refresh, with a new owner")
	}
	wantNext(t, l.events, units.UnitState{Name: "tenement-a", Load: "loaded", Active: "active", Sub: "new"})
	l.setOwner(":1.1", false) // a reply that was overtaken
	if !l.isManager(":1.2") || l.isManager(":1.1") || l.isManager("") {
		t.Error("a reply won over a newer signal")
	}
}

// What is kept of each unit must not hold the buffer of the message that it came with.
func TestSignalsHoldNoMessage(t *testing.T) {
	const unit = "tenement-a@b.service"
	message := strings.Repeat("success active running said ", 10)
	result, active, sub, said := message[:7], message[8:14], message[15:22], message[23:27]
	job := jobPath(7)
	l := testLink()
	l.setOwner(":1.1", false)
	deliver(l,
		signal(":1.1", unitPath(unit), propsIface+".PropertiesChanged", serviceIface, map[string]dbus.Variant{
			"Result": dbus.MakeVariant(result), "StatusText": dbus.MakeVariant(said),
			"ExecMainCode": dbus.MakeVariant(int32(0)), "ExecMainStatus": dbus.MakeVariant(int32(0)),
		}, []string{}),
		changed(":1.1", unit, unitIface, active, sub),
		signal(":1.1", managerPath, managerIface+".JobRemoved", uint32(7), job, unit, result),
	)
	ev, _ := l.events.next()
	exit := l.exits[unit].now
	kept := map[string]string{result: exit.Result, said: exit.Said, active: ev.state.Active, sub: ev.state.Sub, string(job): string(l.jobs.order[0])}
	for path, ended := range l.jobs.recent {
		if unsafe.StringData(string(path)) == unsafe.StringData(string(job)) || unsafe.StringData(ended) == unsafe.StringData(result) {
			t.Errorf("the end of a job holds its message")
		}
	}
	for want, got := range kept {
		if got != want || unsafe.StringData(got) == unsafe.StringData(want) {
			t.Errorf("got %q, want %q in memory of its own", got, want)
		}
	}
}
