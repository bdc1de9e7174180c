package dbusctl

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
)

// address is a Unix socket behind which a manager may be found.
type address struct {
	// socket is a path, or an abstract name that begins with "@".
	socket string
	// private is the manager's own socket: no bus, no names, no match rules.
	private bool
}

// addresses lists where the manager of scope may be found, best first. The private
// socket of the system's manager is for root only.
func addresses(scope Scope, getenv func(string) string, uid int) []address {
	var list []address
	add := func(private bool, sockets ...string) {
		for _, s := range sockets {
			if a := (address{s, private}); !slices.Contains(list, a) {
				list = append(list, a)
			}
		}
	}
	if scope == User {
		run := getenv("XDG_RUNTIME_DIR")
		if run == "" {
			run = "/run/user/" + strconv.Itoa(uid)
		}
		add(false, socketsOf(getenv("DBUS_SESSION_BUS_ADDRESS"))...)
		add(false, filepath.Join(run, "bus"))
		add(true, filepath.Join(run, "systemd/private"))
		return list
	}
	if named := socketsOf(getenv("DBUS_SYSTEM_BUS_ADDRESS")); len(named) > 0 {
		add(false, named...)
	} else {
		add(false, "/run/dbus/system_bus_socket")
	}
	if uid == 0 {
		add(true, "/run/systemd/private")
	}
	return list
}

// socketsOf gives the Unix sockets in a list of D-Bus server addresses (D-Bus
// Specification, "Server Addresses"). Other transports do not lead to a manager.
func socketsOf(list string) []string {
	var sockets []string
	for entry := range strings.SplitSeq(list, ";") {
		options, ok := strings.CutPrefix(entry, "unix:")
		if !ok {
			continue
		}
		for option := range strings.SplitSeq(options, ",") {
			key, value, _ := strings.Cut(option, "=")
			value, err := dbus.UnescapeBusAddressValue(value)
			switch {
			case err != nil || value == "":
			case key == "path":
				sockets = append(sockets, value)
			case key == "abstract":
				sockets = append(sockets, "@"+value)
			}
		}
	}
	return sockets
}
