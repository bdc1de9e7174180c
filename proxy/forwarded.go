package proxy

import (
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
)

// ClientAddr is the address that a request comes from, also one behind proxies that are
// trusted: the last one that they name which is none of them. It is not valid where the
// connection has none.
func ClientAddr(r *http.Request, trusted func(netip.Addr) bool) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap()
	named := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(named) - 1; i >= 0 && trusted(addr); i-- {
		before, ok := forwardedAddr(strings.TrimSpace(named[i]))
		if !ok {
			break
		}
		addr = before
	}
	return addr
}

// forwardedAddr is the address that an element of X-Forwarded-For names. Some name its port, too,
// such as Azure's gateways, and IPv6 is in brackets then.
func forwardedAddr(text string) (addr netip.Addr, ok bool) {
	if with, err := netip.ParseAddrPort(text); err == nil {
		return with.Addr().Unmap(), true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return addr.Unmap(), err == nil
}

// setForwarded sets X-Forwarded-For, -Host and -Proto. What the client sent is taken
// for the truth, and its own address added, only where it is a trusted proxy.
func (p *Proxy) setForwarded(r *httputil.ProxyRequest) {
	trusted := p.believes(r.In)
	if trusted {
		r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
	}
	r.SetXForwarded()
	if !trusted {
		return
	}
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
		if sent := r.In.Header.Get(name); sent != "" {
			r.Out.Header.Set(name, sent)
		}
	}
}
