package proxy

import (
	"net/http/httputil"
)

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
