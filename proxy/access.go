package proxy

import (
	"net/http"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
)

// AccessLog takes the requests that were answered. Both methods must be quick.
type AccessLog interface {
	// Wants reports whether the requests of a service are logged, and with their query.
	Wants(service string) (query, ok bool)
	Add(a tenant.Access)
}

// statusLeft is for requests whose clients left before there was an answer, as other
// servers have it.
const statusLeft = 499

// record begins to note what is logged of a request, if anything is.
func (p *Proxy) record(a *answer, r *http.Request, id tenant.ID) {
	path, ok := p.logged(id, r.RequestURI)
	if !ok {
		return
	}
	a.access = &tenant.Access{
		ID: id, Begun: a.begun, Method: r.Method, Host: r.Host, Path: path, UserAgent: r.UserAgent(),
		RequestID: requestID(r),
	}
	if addr := ClientAddr(r, p.trusted); addr.IsValid() {
		a.access.Remote = addr.String()
	}
}

// logged reports whether requests for an instance are logged, and with which path.
func (p *Proxy) logged(id tenant.ID, target string) (path string, ok bool) {
	if p.access == nil {
		return "", false
	}
	query, ok := p.access.Wants(id.Service)
	if !query {
		target, _, _ = strings.Cut(target, "?")
	}
	return target, ok
}

// chose notes the instance that a request is passed on to.
func (a *answer) chose(id tenant.ID, endpoint tenant.Endpoint) {
	if a.access == nil {
		return
	}
	a.access.ID = id
	if woke := endpoint.Woke(); woke != nil {
		a.access.Wake, a.access.Woke = woke.Kind, woke.Total
	}
}

// logAnswer logs a request that is over, if it is to be logged.
func (p *Proxy) logAnswer(a *answer) {
	if a.access == nil {
		return
	}
	a.access.Duration, a.access.Bytes = time.Since(a.begun), a.bytes.Load()
	a.access.Status, a.access.Aborted = a.status, !a.returned
	if a.status == 0 {
		a.access.Status = http.StatusOK // as net/http has it
		if a.access.Aborted {
			a.access.Status = statusLeft
		}
	}
	p.access.Add(*a.access)
}
