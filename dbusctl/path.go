package dbusctl

import (
	"strings"

	"github.com/godbus/dbus/v5"
)

const unitPathPrefix = "/org/freedesktop/systemd1/unit/"

const hexDigits = "0123456789abcdef"

// escapeLabel makes s usable as one element of an object path, as systemd's
// bus_label_escape does: every byte but letters, digits after the first place, is
// written as an underscore and two hex digits; nothing at all is an underscore.
// Escaping a prefix of s gives a prefix of what escaping s gives.
func escapeLabel(s string) string {
	if s == "" {
		return "_"
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9' && i > 0:
			b.WriteByte(c)
		default:
			b.WriteByte('_')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

// unescapeLabel undoes escapeLabel; ok is false if it could not have made s.
func unescapeLabel(s string) (label string, ok bool) {
	if s == "_" {
		return "", true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '_' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		hi := strings.IndexByte(hexDigits, s[i+1])
		lo := strings.IndexByte(hexDigits, s[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		b = append(b, byte(hi<<4|lo))
		i += 2
	}
	label = string(b)
	return label, escapeLabel(label) == s
}

// unitPath is the object path of a unit.
func unitPath(name string) dbus.ObjectPath {
	return dbus.ObjectPath(unitPathPrefix + escapeLabel(name))
}

// unitOfPath gives the unit's name for the object path of a unit.
func unitOfPath(path dbus.ObjectPath) (name string, ok bool) {
	label, ok := strings.CutPrefix(string(path), unitPathPrefix)
	if !ok {
		return "", false
	}
	return unescapeLabel(label)
}
