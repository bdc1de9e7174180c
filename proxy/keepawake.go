package proxy

import (
	"net/http"

	"tenement.dev/internal/tenant"
)

// takeKeepAwake does what the app asks for in its response, and removes it from there.
func (p *Proxy) takeKeepAwake(resp *http.Response, v *visit) { p.keepAwakeFor(v, resp.Header) }

// keepAwakeFor does what the app asks for in a header. What cannot be understood is as if it
// were not there: no client shall suffer for it.
func (p *Proxy) keepAwakeFor(v *visit, header map[string][]string) {
	d, ok, err := tenant.TakeKeepAwake(header)
	switch {
	case !ok:
	case err == nil:
		v.endpoint.KeepAwake(d)
	case p.pools.complain(v.id):
		p.log.Warn("header of the app ignored, once and from now on", "instance", v.id, "header", tenant.KeepAwakeHeader, "err", err)
	}
}
