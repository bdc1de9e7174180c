package proxy

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/templates"
)

// statuses maps the kinds of failure to HTTP. The others are 500.
var statuses = map[tenant.Code]int{
	tenant.CodeInvalid:      http.StatusBadRequest,
	tenant.CodeNotFound:     http.StatusNotFound,
	tenant.CodeLimit:        http.StatusTooManyRequests,
	tenant.CodeUnsupported:  http.StatusServiceUnavailable,
	tenant.CodeStartFailed:  http.StatusServiceUnavailable,
	tenant.CodeStartTimeout: http.StatusServiceUnavailable,
	tenant.CodeFailed:       http.StatusServiceUnavailable,
	tenant.CodeUnavailable:  http.StatusServiceUnavailable,
}

// fail answers a request that did not reach an instance.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // nobody is there to be told
	}
	var unwoken *tenant.Unwoken
	if errors.As(err, &unwoken) {
		p.answerUnwoken(w, r, unwoken)
		return
	}
	var e *tenant.Error
	if !errors.As(err, &e) {
		e = &tenant.Error{Code: tenant.CodeInternal, Op: "serve", Msg: "internal error", Err: err}
	}
	status, ok := statuses[e.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	p.write(w, r, status, e)
}

// write answers with an error in plain text. Clients on this machine are told what
// happened, others only of what kind it is.
func (p *Proxy) write(w http.ResponseWriter, r *http.Request, status int, e *tenant.Error) {
	if status >= 500 {
		p.log.Warn("request failed", "host", r.Host, "status", status, "code", string(e.Code), "err", e)
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	page := isNavigation(r)
	if page {
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Tenement-Error", string(e.Code))
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		h.Set("Retry-After", retryAfter(e.RetryAfter))
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if page {
		p.writePage(w, r, status, e)
		return
	}
	fmt.Fprintf(w, "%d %s (%s)\n", status, http.StatusText(status), e.Code)
	if fromLoopback(r) {
		fmt.Fprintf(w, "%s\nhint: %s\n", e.Msg, e.Hint)
	}
}

// texts say to people what has happened, by status.
var texts = map[int]string{
	http.StatusBadRequest:         "This address cannot be.",
	http.StatusNotFound:           "There is nothing at this address.",
	http.StatusTooManyRequests:    "There is no room for more just now.",
	http.StatusBadGateway:         "The site did not answer properly.",
	http.StatusServiceUnavailable: "The site cannot be shown just now. Please try again in a moment.",
	http.StatusGatewayTimeout:     "The site took too long to answer.",
}

// writePage writes an error for people.
func (p *Proxy) writePage(w http.ResponseWriter, r *http.Request, status int, e *tenant.Error) {
	page := templates.Error{Status: status, Code: string(e.Code), Title: http.StatusText(status), Text: texts[status]}
	if fromLoopback(r) {
		page.Detail, page.Hint = e.Msg, e.Hint
	}
	if err := page.Write(w); err != nil {
		p.log.Debug("error page not sent", "err", err)
	}
}

// retryAfter is in whole seconds, at least one (RFC 9110, section 10.2.3).
func retryAfter(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}
