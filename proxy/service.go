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
	v := p.classify(r)
	var tried []tenant.ID
	var failed error
	for len(tried) < maxRoutes {
		id, sticky, err := p.route(r, service, prefer, tried)
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
				http.SetCookie(w, cookieFor(id, r.TLS != nil))
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

// cookieFor has a client come back to an instance.
func cookieFor(id tenant.ID, secure bool) *http.Cookie {
	return &http.Cookie{Name: stickyCookie, Value: id.Name, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode}
}

// choice is an instance that has been chosen for a request to a service.
type choice struct {
	id           tenant.ID
	sticky, made bool
}

type choiceKey struct{}

// route chooses an instance for a request to a service. For the first request on a connection
// that was on the fast path that may have been done there: to choose again would take away
// from the share of those that sleep.
func (p *Proxy) route(r *http.Request, service, prefer string, tried []tenant.ID) (id tenant.ID, sticky bool, err error) {
	if c, ok := r.Context().Value(choiceKey{}).(*choice); ok && c.made && c.id.Service == service {
		c.made = false
		return c.id, c.sticky, nil
	}
	return p.router.Route(service, prefer, tried)
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
