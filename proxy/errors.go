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
	tenant.CodeInvalid:      http.StatusBadRequest,
	tenant.CodeNotFound:     http.StatusNotFound,
	tenant.CodeLimit:        http.StatusTooManyRequests,
	tenant.CodeUnsupported:  http.StatusServiceUnavailable,
	tenant.CodeStartFailed:  http.StatusServiceUnavailable,
	tenant.CodeStartTimeout: http.StatusServiceUnavailable,
	tenant.CodeFailed:       http.StatusServiceUnavailable,
	tenant.CodeUnavailable:  http.StatusServiceUnavailable,
	tenant.CodePaused:       http.StatusServiceUnavailable,
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

// write answers with an error: a page for people, JSON for who asks for it, else plain
// text. Clients on this machine are told what happened, others only of what kind it is.
func (p *Proxy) write(w http.ResponseWriter, r *http.Request, status int, e *tenant.Error) {
	if status >= 500 && e.Code != tenant.CodePaused && p.failures.may(e.ID, time.Now()) {
		p.log.Warn("request failed", "host", r.Host, "status", status, "code", string(e.Code), "request_id", requestID(r), "err", e)
	}
	if rec, ok := w.(*recorder); ok {
		rec.access.Code = e.Code
	}
	h := w.Header()
	h.Set(requestIDHeader, requestID(r))
	h.Set("Content-Type", "text/plain; charset=utf-8")
	page, asJSON := isNavigation(r), wantsJSON(r) || e.Code == tenant.CodePaused
	switch {
	case !page && asJSON:
		h.Set("Content-Type", "application/json")
	case page:
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
	if asJSON {
		writeJSON(w, r, status, e)
		return
	}
	fmt.Fprintf(w, "%d %s (%s)\nrequest id: %s\n", status, http.StatusText(status), e.Code, requestID(r))
	if fromLoopback(r) {
		fmt.Fprintf(w, "%s\nhint: %s\n", e.Msg, e.Hint)
	}
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

func writeJSON(w http.ResponseWriter, r *http.Request, status int, e *tenant.Error) {
	var body jsonError
	body.Error.Status, body.Error.Code, body.Error.Message = status, e.Code, http.StatusText(status)
	body.Error.ID = requestID(r)
	if e.Public != "" {
		body.Error.Message = e.Public
	} else if fromLoopback(r) {
		body.Error.Message, body.Error.Hint = e.Msg, e.Hint
	}
	_ = json.NewEncoder(w).Encode(body) // it also escapes HTML; the client may have gone
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

// writePage writes an error for people.
func (p *Proxy) writePage(w http.ResponseWriter, r *http.Request, status int, e *tenant.Error) {
	page := templates.Error{Status: status, Code: string(e.Code), Title: http.StatusText(status), Text: texts[status], RequestID: requestID(r)}
	if e.Code == tenant.CodePaused {
		page.Title, page.Text = "Down for maintenance", "The site will be back. Please try again later."
	}
	if e.Public != "" {
		page.Text = e.Public
	}
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
