package dbusctl

import (
	"strings"
	"testing"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

func TestUnitPath(t *testing.T) {
	for _, test := range []struct {
		name string
		want dbus.ObjectPath
	}{
		{"tenement-notes@alice.service", "/org/freedesktop/systemd1/unit/tenement_2dnotes_40alice_2eservice"},
		{`tenement-my\x2dapp@a.socket`, "/org/freedesktop/systemd1/unit/tenement_2dmy_5cx2dapp_40a_2esocket"},
		{"-.slice", "/org/freedesktop/systemd1/unit/_2d_2eslice"},
		{"1st.service", "/org/freedesktop/systemd1/unit/_31st_2eservice"},
		{"", "/org/freedesktop/systemd1/unit/_"},
	} {
		got := unitPath(test.name)
		if got != test.want {
			t.Errorf("unitPath(%q) = %q, want %q", test.name, got, test.want)
		}
		if name, ok := unitOfPath(got); name != test.name || !ok {
			t.Errorf("unitOfPath(%q) = %q, %v, want %q", got, name, ok, test.name)
		}
	}
	for _, path := range []dbus.ObjectPath{
		"/org/freedesktop/systemd1/job/17",
		"/org/freedesktop/systemd1/unit/a_2",  // cut short
		"/org/freedesktop/systemd1/unit/a_2D", // systemd writes lower case
		"/org/freedesktop/systemd1/unit/a_61", // "a" is not escaped
		"/org/freedesktop/systemd1/unit/a_",
		"/org/freedesktop/systemd1/unit/1st",
		"/org/freedesktop/systemd1/unit/",
	} {
		if name, ok := unitOfPath(path); ok {
			t.Errorf("unitOfPath(%q) = %q, want none", path, name)
		}
	}
}

func FuzzEscapeLabel(f *testing.F) {
	f.Add("tenement-notes@alice.service", 9)
	f.Add("", 0)
	f.Add("1_2", 1)
	f.Add("\x01é\xff", 2)
	f.Fuzz(func(t *testing.T, s string, cut int) {
		got := escapeLabel(s)
		if !dbus.ObjectPath("/" + got).IsValid() {
			t.Errorf("escapeLabel(%q) = %q, which is not an element of a path", s, got)
		}
		back, ok := unescapeLabel(got)
		if back != s || !ok {
			t.Errorf("unescapeLabel(%q) = %q, %v, want %q", got, back, ok, s)
		}
		// go-systemd writes bytes below 16 with one digit, which systemd does not.
		if !strings.ContainsFunc(s, func(r rune) bool { return r < 16 }) {
			if want := systemd.PathBusEscape(s); got != want {
				t.Errorf("escapeLabel(%q) = %q, go-systemd says %q", s, got, want)
			}
		}
		if cut > 0 && cut <= len(s) && !strings.HasPrefix(got, escapeLabel(s[:cut])) {
			t.Errorf("escapeLabel(%q) = %q does not begin with that of %q", s, got, s[:cut])
		}
	})
}

func FuzzUnescapeLabel(f *testing.F) {
	f.Add("tenement_2dnotes")
	f.Add("_")
	f.Add("a_2")
	f.Fuzz(func(t *testing.T, s string) {
		if label, ok := unescapeLabel(s); ok && escapeLabel(label) != s {
			t.Errorf("unescapeLabel(%q) = %q, which is escaped as %q", s, label, escapeLabel(label))
		}
	})
}
