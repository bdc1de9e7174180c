package tenant

import (
	"cmp"
	"fmt"
	"strings"
)

// MaxLabel is the longest service or instance name in bytes: a DNS label's limit
// (RFC 1035, section 2.3.4), since both names appear in host names.
const MaxLabel = 63

// ID names an instance: a service and the name of one copy of it. Both halves are
// lower-case DNS labels, so an ID may be used in a host name, a unit name or a path
// as it is.
type ID struct {
	Service string
	Name    string
}

// String prints the form that people type: "notes:alice".
func (id ID) String() string { return id.Service + ":" + id.Name }

// Compare orders IDs by service, and then by name.
func (id ID) Compare(other ID) int {
	return cmp.Or(cmp.Compare(id.Service, other.Service), cmp.Compare(id.Name, other.Name))
}

// IsZero reports whether id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText prints id as String does.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText parses what MarshalText prints.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// ParseID parses "service:name". The error is an *Error with CodeInvalid.
func ParseID(s string) (ID, error) {
	service, name, ok := strings.Cut(s, ":")
	if !ok {
		return ID{}, &Error{
			Code: CodeInvalid,
			Msg:  fmt.Sprintf("%q is not an instance name", s),
			Hint: "write it as service:name, for example notes:alice",
		}
	}
	if err := CheckLabel("service", service); err != nil {
		return ID{}, err
	}
	if err := CheckLabel("instance", name); err != nil {
		return ID{}, err
	}
	return ID{Service: service, Name: name}, nil
}

// CheckLabel checks that s is a lower-case DNS label; what says which name it is in
// the error, an *Error with CodeInvalid.
func CheckLabel(what, s string) error {
	if IsLabel(s) {
		return nil
	}
	shown := s
	if len(shown) > MaxLabel+8 {
		shown = shown[:MaxLabel+8] + "…"
	}
	return &Error{
		Code: CodeInvalid,
		Msg:  fmt.Sprintf("%q is not a valid %s name", shown, what),
		Hint: "use 1 to 63 lower-case letters, digits and inner hyphens, as in a host name",
	}
}

// IsLabel reports whether s is a lower-case DNS label: letters, digits and inner
// hyphens, 1 to MaxLabel bytes (RFC 1123, section 2.1).
func IsLabel(s string) bool {
	if len(s) == 0 || len(s) > MaxLabel {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case c == '-' && i > 0 && i < len(s)-1:
		default:
			return false
		}
	}
	return true
}
