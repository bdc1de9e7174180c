package proxy

import (
	"net/http"

	"tenement.dev/internal/tenant"
)

// maxRoutes is how many instances of a service are tried for one request.
const maxRoutes = 3

// stickyCookie names the instance that a client of a sticky service was given.
const stickyCookie = "tenement_instance"

// serveService serves a request to a service's own host name from one of its
// instances, and from another one if that cannot start: nothing of the request has
// been sent then.
func (p *Proxy) serveService(w *answer, r *http.Request, service string) {
	p.record(w, r, tenant.ID{Service: service})
	prefer := ""
	if c, err := r.Cookie(stickyCookie); err == nil {
		prefer = c.Value
	}
	v := classify(r)
	var tried []tenant.ID
	var failed error
	for len(tried) < maxRoutes {
		id, sticky, err := p.router.Route(service, prefer, tried)
		if err != nil {
			if failed == nil {
				failed = err
			}
			break
		}
		if wantsProgress(r) {
			p.serveProgress(w, r, id)
			return
		}
		endpoint, release, shown, err := p.acquire(w, r, id, v)
		if shown {
			return
		}
		if err == nil {
			if sticky && id.Name != prefer {
				http.SetCookie(w, &http.Cookie{Name: stickyCookie, Value: id.Name, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode})
			}
			p.forward(w, r, id, endpoint, release)
			return
		}
		failed = err
		tried = append(tried, id)
		if r.Context().Err() != nil || !another(err) {
			break
		}
	}
	p.fail(w, r, failed)
}

// another reports whether a request that one instance could not take may go to
// another one.
func another(err error) bool {
	switch tenant.CodeOf(err) {
	case tenant.CodeStartFailed, tenant.CodeStartTimeout, tenant.CodeFailed, tenant.CodeUnavailable, tenant.CodeUnsupported,
		tenant.CodeConflict,
		tenant.CodeNotFound: // destroyed a moment ago
		return true
	}
	return false
}
