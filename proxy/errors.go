package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/templates"
)

// statuses maps the kinds of failure to HTTP. The others are 500.
var statuses = map[tenant.Code]int{
	tenant.CodeInvalid:       http.StatusBadRequest,
	tenant.CodeNotFound:      http.StatusNotFound,
	tenant.CodeConflict:      http.StatusServiceUnavailable,
	tenant.CodeNoServiceHost: http.StatusNotFound,
	tenant.CodeLimit:         http.StatusTooManyRequests,
	tenant.CodeUnsupported:   http.StatusServiceUnavailable,
	tenant.CodeStartFailed:   http.StatusServiceUnavailable,
	tenant.CodeStartTimeout:  http.StatusServiceUnavailable,
	tenant.CodeFailed:        http.StatusServiceUnavailable,
	tenant.CodeUnavailable:   http.StatusServiceUnavailable,
	tenant.CodePaused:        http.StatusServiceUnavailable,
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
	switch {
	case errors.Is(err, tenant.ErrNoPort):
		status = http.StatusServiceUnavailable // it is the server that has too little
	case !ok:
		status = http.StatusInternalServerError
	}
	p.write(w, r, status, e)
}

// write answers with an error: a page for people, JSON for who asks for it, else plain
// text. Clients on this machine are told what happened, others only of what kind it is.
func (p *Proxy) write(w http.ResponseWriter, r *http.Request, status int, e *tenant.Error) {
	if status >= 500 && e.Code != tenant.CodePaused && p.failures.may(e.ID, time.Now()) {
		p.log.Warn("request failed", "host", r.Host, "status", status, "code", string(e.Code), "request_id", requestID(r), "err", e)
	}
	if a, ok := w.(*answer); ok && a.access != nil {
		a.access.Code = e.Code
	}
	body, kind := p.describe(w, r, status, e)
	h := w.Header()
	h.Set(requestIDHeader, requestID(r))
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Tenement-Error", string(e.Code))
	if mayRetry(status) {
		h.Set("Retry-After", strconv.Itoa(retryAfter(e.RetryAfter)))
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client may have gone
	}
}

// mayRetry reports whether clients are told when to come again.
func mayRetry(status int) bool {
	return status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests
}

// describe gives the body of an error's answer, and its type.
func (p *Proxy) describe(w http.ResponseWriter, r *http.Request, status int, e *tenant.Error) (body []byte, kind string) {
	if isNavigation(r) {
		if page := p.page(w, r, status, e); page != nil {
			return page, "text/html; charset=utf-8"
		}
	} else if wantsJSON(r) || e.Code == tenant.CodePaused {
		return inJSON(r, status, e), "application/json"
	}
	text := fmt.Sprintf("%d %s (%s)\nrequest id: %s\n", status, http.StatusText(status), e.Code, requestID(r))
	if fromLoopback(r) {
		text += fmt.Sprintf("%s\nhint: %s\n", e.Msg, e.Hint)
	}
	return []byte(text), "text/plain; charset=utf-8"
}

// wantsJSON reports whether a program says that it reads JSON (RFC 9110, section 12.5.1).
func wantsJSON(r *http.Request) bool {
	for _, accept := range r.Header["Accept"] {
		for kind := range strings.SplitSeq(accept, ",") {
			kind, _, _ = strings.Cut(kind, ";")
			if kind = strings.ToLower(strings.TrimSpace(kind)); kind == "application/json" || strings.HasSuffix(kind, "+json") {
				return true
			}
		}
	}
	return false
}

// jsonError is an error for programs.
type jsonError struct {
	Error struct {
		Status  int         `json:"status"`
		Code    tenant.Code `json:"code"`
		Message string      `json:"message"`
		Hint    string      `json:"hint,omitempty"`
		ID      string      `json:"request_id"`
	} `json:"error"`
}

func inJSON(r *http.Request, status int, e *tenant.Error) []byte {
	var body jsonError
	body.Error.Status, body.Error.Code, body.Error.Message = status, e.Code, http.StatusText(status)
	body.Error.ID = requestID(r)
	if e.Public != "" {
		body.Error.Message = e.Public
	} else if fromLoopback(r) {
		body.Error.Message, body.Error.Hint = e.Msg, e.Hint
	}
	text, err := json.Marshal(body) // it also escapes HTML
	if err != nil {                 // there is nothing in it that cannot be encoded
		return nil
	}
	return append(text, '\n')
}

// texts say to people what has happened, by status.
var texts = map[int]string{
	http.StatusBadRequest:         "This address cannot be.",
	http.StatusRequestTimeout:     "The rest of what was being sent did not come.",
	http.StatusNotFound:           "There is nothing at this address.",
	http.StatusTooManyRequests:    "There is no room for more just now.",
	http.StatusBadGateway:         "The site did not answer properly.",
	http.StatusServiceUnavailable: "The site cannot be shown just now. Please try again in a moment.",
	http.StatusGatewayTimeout:     "The site took too long to answer.",
}

// page makes an error's page for people: the service's own, or ours. Nil says that it
// cannot be made.
func (p *Proxy) page(w http.ResponseWriter, r *http.Request, status int, e *tenant.Error) []byte {
	page := templates.Page{
		Status: status, Code: string(e.Code), Title: http.StatusText(status), Text: texts[status], Message: e.Public,
		RequestID: requestID(r), Host: r.Host,
	}
	if mayRetry(status) {
		page.RetryAfter = retryAfter(e.RetryAfter)
	}
	if e.Code == tenant.CodePaused {
		page.Title, page.Text = "Down for maintenance", "The site will be back. Please try again later."
	}
	if e.Public != "" {
		page.Text = e.Public
	}
	if fromLoopback(r) {
		page.Detail, page.Hint = e.Msg, e.Hint
	}
	service := e.ID.Service
	if service == "" {
		id, _ := ParseHost(r.Host, p.domains...)
		service = id.Service
	}
	return p.render(w, page, service, "default-src 'none'; style-src 'unsafe-inline'")
}

// render makes a page. One of ours gets a Content-Security-Policy; one of a service's own
// may load what it wants.
func (p *Proxy) render(w http.ResponseWriter, page templates.Page, service, policy string) []byte {
	html, own, err := page.Render(p.pages(service))
	if err != nil && own {
		p.log.Warn("a service's own page cannot be made", "service", service, "err", err)
		html, own, err = page.Render(nil)
	}
	if err != nil {
		p.log.Error("page cannot be made", "err", err)
		return nil
	}
	if !own {
		w.Header().Set("Content-Security-Policy", policy)
	}
	return html
}

// retryAfter is in whole seconds, at least one (RFC 9110, section 10.2.3).
func retryAfter(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }
