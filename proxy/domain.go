package proxy

import (
	"net/http"
	"strings"

	"tenement.dev/internal/tenant"
)

// serveDomain serves a request for a host name that an instance was given. Where only
// the name with or without "www." was given, the other one is sent there.
func (p *Proxy) serveDomain(w *answer, r *http.Request) {
	name, _ := hostName(r.Host)
	name = strings.ToLower(name)
	if r.URL.Path == AskPath && fromLoopback(r) {
		p.serveAsk(w, r)
		return
	}
	if id, ok := p.router.Domain(name); ok {
		w.service = id.Service
		p.serveInstance(w, r, id)
		return
	}
	if other := twin(name); other != "" {
		if _, ok := p.router.Domain(other); ok {
			_, port, found := strings.Cut(r.Host, ":")
			if found {
				other += ":" + port
			}
			scheme := "http://"
			if (HTTPS{Trusted: p.trusted}).secure(r) {
				scheme = "https://"
			}
			http.Redirect(w, r, scheme+other+r.URL.RequestURI(), http.StatusPermanentRedirect)
			return
		}
	}
	p.fail(w, r, &tenant.Error{
		Code: tenant.CodeNotFound, Op: "route",
		Msg:  "this host name is not served here",
		Hint: "names end in " + strings.Join(p.domains, " or ") + ", or were given to an instance with `ten domain add`",
	})
}

// AskPath is where a web server on this machine may ask, at the machine's own address,
// whether a host is served here: Caddy does so before it gets a certificate
// (caddyserver.com/docs/caddyfile/options, on_demand_tls).
const AskPath = "/.well-known/tenement/ask"

// serveAsk answers 200 if the host in the parameter domain is served here, 404 if not.
func (p *Proxy) serveAsk(w http.ResponseWriter, r *http.Request) {
	host := strings.TrimSuffix(strings.ToLower(r.URL.Query().Get("domain")), ".")
	w.Header().Set("Cache-Control", "no-store")
	if host == "" || !p.known(host) {
		http.Error(w, "not served here", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// twin is name with "www." where it has none, or without it.
func twin(name string) string {
	if bare, ok := strings.CutPrefix(name, "www."); ok {
		return bare
	}
	if name == "" {
		return ""
	}
	return "www." + name
}

// KnownDomain reports whether a host name is served since an instance was given it, or
// its twin with or without "www.".
func KnownDomain(router Router, host string) bool {
	if _, ok := router.Domain(host); ok {
		return true
	}
	_, ok := router.Domain(twin(host))
	return ok
}
