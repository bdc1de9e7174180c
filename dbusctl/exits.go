package dbusctl

import (
	"time"

	"github.com/godbus/dbus/v5"

	"tenement.dev/units"
)

// exits remembers how services ended. A change of one comes as two signals, first what is
// the service's own and then what all units have (dbus_unit_send_change_signal in systemd),
// and the next start makes the manager forget the end before it: so the end goes with
// each event from then on, lest an event that replaces another lose it.
type exits map[string]exit

type exit struct{ now, last units.Exit }

// note takes what is the service's own.
func (e *exits) note(name string, changed map[string]dbus.Variant) {
	if *e == nil {
		*e = exits{}
	}
	x := (*e)[name]
	x.now = units.Exit{}
	x.now.Result, _ = text(changed["Result"])
	x.now.Code, _ = changed["ExecMainCode"].Value().(int32)
	x.now.Status, _ = changed["ExecMainStatus"].Value().(int32)
	x.now.Said, _ = text(changed["StatusText"])
	(*e)[name] = x
}

// last gives how the service has ended last, after what all units have.
func (e *exits) last(name, active string, changed map[string]dbus.Variant) units.Exit {
	x, ok := (*e)[name]
	if !ok {
		return units.Exit{} // no service
	}
	usec, _ := changed["InactiveEnterTimestampMonotonic"].Value().(uint64)
	at := int64(time.Duration(usec) * time.Microsecond)
	if (active == "inactive" || active == "failed") && x.last.At != at { // else it has been reset
		x.last = x.now
		x.last.At = at
		(*e)[name] = x
	}
	if x.last.At != at {
		return units.Exit{At: at}
	}
	return x.last
}

func (e *exits) forget(name string) { delete(*e, name) }
