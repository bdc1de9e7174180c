package main

import (
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

// proxyHeaderTimeout bounds the wait for the header with which a trusted proxy begins.
const proxyHeaderTimeout = 5 * time.Second

// behindProxies has trusted proxies tell their client's address by the PROXY protocol,
// version 1 or 2 (haproxy.org/download/3.2/doc/proxy-protocol.txt). What others send is
// no header but a request that is refused.
func behindProxies(l net.Listener, trusted func(netip.Addr) bool) net.Listener {
	return &proxyproto.Listener{
		Listener:          l,
		ReadHeaderTimeout: proxyHeaderTimeout,
		ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			if tcp, ok := o.Upstream.(*net.TCPAddr); ok && trusted(tcp.AddrPort().Addr().Unmap()) {
				return proxyproto.USE, nil
			}
			return proxyproto.SKIP, nil
		},
	}
}
