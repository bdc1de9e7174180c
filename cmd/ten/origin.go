package main

import (
	"net"
	"strconv"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

// origin is where people reach instances.
type origin struct {
	scheme, domain string
	port           int
}

// originOf prefers TLS, if it is served.
func originOf(o serveOptions, plain, secure []net.Listener) origin {
	a := origin{"http", o.domains[0], o.port}
	listeners := plain
	if len(secure) > 0 {
		a.scheme, a.port, listeners = "https", o.httpsPort, secure
	}
	if len(listeners) > 0 {
		if tcp, ok := listeners[0].Addr().(*net.TCPAddr); ok {
			a.port = tcp.Port
		}
	}
	return a
}

// behind is how people reach instances where the configuration says that it is through a proxy.
func (a origin) behind(p config.Public) origin {
	if p.Scheme == "" {
		return a
	}
	return origin{p.Scheme, a.domain, p.Port}
}

// url is that of an instance.
func (a origin) url(id tenant.ID) string {
	host := id.Name + "." + id.Service + "." + a.domain
	if a.scheme == "http" && a.port == 80 || a.scheme == "https" && a.port == 443 {
		return a.scheme + "://" + host
	}
	return a.scheme + "://" + net.JoinHostPort(host, strconv.Itoa(a.port))
}
