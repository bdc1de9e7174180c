package proxy

import (
	"strings"

	"tenement.dev/internal/tenant"
)

// Kind is what a host name stands for.
type Kind uint8

// The kinds of host name.
const (
	// Foreign: not below the base domain, or no host name at all.
	Foreign Kind = iota
	// Root: the base domain itself.
	Root
	// Service: all instances of a service.
	Service
	// Instance: one instance.
	Instance
	// Malformed: below the base domain, but with labels that no instance can have.
	Malformed
)

// ParseHost tells what the value of a Host header stands for below one of the domains,
// which are lower-case and have no trailing dot; where one is below another, the longer
// one counts. Upper case, a port and a trailing dot do not matter (RFC 9110, section
// 4.2.3; RFC 1034, section 3.1).
func ParseHost(host string, domains ...string) (tenant.ID, Kind) {
	name, ok := hostName(host)
	if !ok {
		return tenant.ID{}, Foreign
	}
	name = strings.ToLower(name)
	sub, longest := "", -1
	for _, domain := range domains {
		at := len(name) - len(domain)
		switch {
		case len(domain) <= longest || at < 0 || name[at:] != domain:
		case at == 0:
			return tenant.ID{}, Root // none is longer
		case name[at-1] == '.':
			sub, longest = name[:at-1], len(domain)
		}
	}
	if longest < 0 {
		return tenant.ID{}, Foreign
	}
	instance, service, ok := strings.Cut(sub, ".")
	if !ok {
		if !tenant.IsLabel(sub) {
			return tenant.ID{}, Malformed
		}
		return tenant.ID{Service: sub}, Service
	}
	if !tenant.IsLabel(instance) || !tenant.IsLabel(service) {
		return tenant.ID{}, Malformed
	}
	return tenant.ID{Service: service, Name: instance}, Instance
}

// hostName is a Host header without its port and trailing dot; not ok for addresses
// in brackets and for what has more than a port behind the name.
func hostName(host string) (string, bool) {
	name, port, found := strings.Cut(host, ":")
	if found {
		for i := range len(port) {
			if port[i] < '0' || port[i] > '9' {
				return "", false
			}
		}
	}
	return strings.TrimSuffix(name, "."), name != "" && name != "."
}
