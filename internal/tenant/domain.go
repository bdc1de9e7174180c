package tenant

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Domain is a host name of an instance beside the one that it always has.
type Domain struct {
	// Host is in lower case and has no trailing dot.
	Host    string
	ID      ID
	Created time.Time
	// Verified is when its record was found, zero where nobody asked for one.
	Verified time.Time
	// Token is what the TXT record at Record must have before the host name is the
	// instance's; empty where it is. Checked is when that was last looked for, and Problem
	// why it was not there.
	Token   string
	Checked time.Time
	Problem string
}

// Pending reports whether the host name is not the instance's yet.
func (d Domain) Pending() bool { return d.Token != "" }

// Record is the name whose TXT record shows that the host name's owner wants it served
// here (RFC 8552: underscored names are no hosts).
func (d Domain) Record() string { return "_tenement." + d.Host }

// maxHost is the longest host name in bytes (RFC 1035, section 2.3.4, less the dots of
// the wire format).
const maxHost = 253

// ParseHost makes a host name what a Domain has: lower-case DNS labels, at least two.
// The error is an *Error with CodeInvalid.
func ParseHost(s string) (string, error) {
	host := strings.TrimSuffix(strings.ToLower(s), ".")
	labels := strings.Split(host, ".")
	valid := len(host) <= maxHost && len(labels) > 1
	for _, label := range labels {
		valid = valid && IsLabel(label)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		valid = false
	}
	if !valid {
		return "", &Error{
			Code: CodeInvalid,
			Msg:  fmt.Sprintf("%.80q is not a host name", s),
			Hint: "write it as notes.example.com; one with other letters in its xn-- form",
		}
	}
	return host, nil
}
