package dbusctl

import (
	"strings"

	"github.com/godbus/dbus/v5"

	"tenement.dev/units"
)

// DeliverSignal handles one signal; godbus calls it in the order of the wire, from the
// goroutine that reads the connection. It implements dbus.SignalHandler.
func (l *link) DeliverSignal(_, _ string, s *dbus.Signal) {
	if s.Name == busIface+".NameOwnerChanged" {
		if s.Sender == busName && !l.private {
			l.ownerChanged(s.Body)
		}
		return
	}
	if !l.isManager(s.Sender) {
		return
	}
	ok := true
	switch s.Name {
	case managerIface + ".JobRemoved":
		ok = l.jobRemoved(s.Body)
	case managerIface + ".UnitRemoved":
		ok = l.unitRemoved(s.Body)
	case managerIface + ".Reloading":
		ok = l.reloading(s.Body)
	case propsIface + ".PropertiesChanged":
		ok = l.propertiesChanged(s.Path, s.Body)
	}
	if !ok { // not as documented, so something is missed
		l.events.resync()
	}
}

// isManager reports whether sender is the manager. On its private socket there is
// nobody else.
func (l *link) isManager(sender string) bool {
	if l.private {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owner != "" && sender == l.owner
}

// ownerChanged: the manager left the bus or came (back) to it, as when it executes
// itself anew.
func (l *link) ownerChanged(body []any) {
	var name, before, after string
	if dbus.Store(body, &name, &before, &after) != nil || name != managerName {
		return
	}
	l.setOwner(after, true)
	l.jobs.restart()
	if after != "" {
		notify(l.refresh)
	}
}

func (l *link) jobRemoved(body []any) bool {
	var id uint32
	var job dbus.ObjectPath
	var unit, result string
	if dbus.Store(body, &id, &job, &unit, &result) != nil {
		return false
	}
	l.jobs.removed(job, result)
	return true
}

func (l *link) unitRemoved(body []any) bool {
	var name string
	var path dbus.ObjectPath
	if dbus.Store(body, &name, &path) != nil {
		return false
	}
	if strings.HasPrefix(string(path), l.prefix) {
		l.exits.forget(name)
		l.events.put(units.UnitState{Name: name, Load: "not-found", Active: "inactive", Sub: "dead"})
	}
	return true
}

// reloading: while it reloads, the manager sends nothing; after it, things may have
// changed without a signal.
func (l *link) reloading(body []any) bool {
	var active bool
	if dbus.Store(body, &active) != nil {
		return false
	}
	if !active {
		notify(l.refresh)
	}
	return true
}

func (l *link) propertiesChanged(path dbus.ObjectPath, body []any) bool {
	if !strings.HasPrefix(string(path), l.prefix) {
		return true
	}
	name, ok := unitOfPath(path)
	if !ok {
		return false
	}
	var iface string
	var changed map[string]dbus.Variant
	var invalidated []string
	if dbus.Store(body, &iface, &changed, &invalidated) != nil {
		return false
	}
	switch iface {
	case serviceIface:
		l.exits.note(name, changed)
		return true
	case unitIface:
	default:
		return true
	}
	// LoadState is not among the properties that are announced. A unit that changes is
	// in memory, which is all that "loaded" can mean here.
	st := units.UnitState{Name: name, Load: "loaded"}
	var hasActive, hasSub bool
	st.Active, hasActive = text(changed["ActiveState"])
	st.Sub, hasSub = text(changed["SubState"])
	if !hasActive || !hasSub {
		return false
	}
	st.Exit = l.exits.last(name, st.Active, changed)
	l.events.put(st)
	return true
}

// text gives a string of its own, as all that is kept should be: those that godbus decodes are
// parts of a buffer of 4 KB for the whole message, which lives for as long as one of them.
func text(v dbus.Variant) (string, bool) {
	s, ok := v.Value().(string)
	return strings.Clone(s), ok
}
