package dbusctl

import (
	"reflect"
	"testing"
)

func TestAddresses(t *testing.T) {
	for _, test := range []struct {
		name  string
		scope Scope
		uid   int
		env   map[string]string
		want  []address
	}{
		{"root", System, 0, nil, []address{{"/run/dbus/system_bus_socket", false}, {"/run/systemd/private", true}}},
		{"not root", System, 1000, nil, []address{{"/run/dbus/system_bus_socket", false}}},
		{
			"named system bus", System, 1000,
			map[string]string{"DBUS_SYSTEM_BUS_ADDRESS": "tcp:host=h;unix:path=/a%20b,guid=00;unix:guid=1,abstract=c"},
			[]address{{"/a b", false}, {"@c", false}},
		},
		{
			"user", User, 1000, nil,
			[]address{{"/run/user/1000/bus", false}, {"/run/user/1000/systemd/private", true}},
		},
		{
			"user with the usual session bus", User, 1000,
			map[string]string{"XDG_RUNTIME_DIR": "/x", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/x/bus"},
			[]address{{"/x/bus", false}, {"/x/systemd/private", true}},
		},
		{
			"user with another session bus", User, 1000,
			map[string]string{"XDG_RUNTIME_DIR": "/x", "DBUS_SESSION_BUS_ADDRESS": "unix:abstract=/tmp/dbus-1,guid=2"},
			[]address{{"@/tmp/dbus-1", false}, {"/x/bus", false}, {"/x/systemd/private", true}},
		},
		{
			"nonsense", User, 1000,
			map[string]string{"DBUS_SESSION_BUS_ADDRESS": "unix:path=%zz;unix:;autolaunch:;;unix:path="},
			[]address{{"/run/user/1000/bus", false}, {"/run/user/1000/systemd/private", true}},
		},
	} {
		getenv := func(key string) string { return test.env[key] }
		if got := addresses(test.scope, getenv, test.uid); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestMajorVersion(t *testing.T) {
	for text, want := range map[string]int{
		"257.13-1~deb13u1": 257, "255": 255, "252-18.el9": 252, "v256.7-1.fc41": 256, "260~rc1": 260, "": -1, "systemd": -1,
	} {
		got, ok := majorVersion(text)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("majorVersion(%q) = %d, want %d", text, got, want)
		}
	}
}
