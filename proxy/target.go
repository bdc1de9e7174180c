package proxy

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"tenement.dev/internal/tenant"
)

// refuse answers requests that no instance is to see: what they ask for makes no sense
// to an origin server (RFC 9112, section 3.2; RFC 9110, sections 4.2.4 and 9.3.6), and
// who is asked for it may be in the middle of an attack.
func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request) bool {
	status, msg := http.StatusBadRequest, ""
	switch target := r.RequestURI; {
	case !httpguts.ValidHeaderFieldName(r.Method):
		msg = "this is no method" // over HTTP/2 it can be anything, and so can the target
	case strings.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		msg = "a target has no spaces"
	case badLength(r.Header["Content-Length"]):
		msg = "the Content-Length is no number, or there are two"
	case r.Method == http.MethodConnect:
		status, msg = http.StatusNotImplemented, "this is no forward proxy"
	case target == "*" && r.Method != http.MethodOptions:
		msg = "only OPTIONS has the target *"
	case target == "*" || strings.HasPrefix(target, "/"):
	case r.ProtoMajor > 1 || r.URL.Scheme != "http" && r.URL.Scheme != "https" || r.URL.Host == "" || r.URL.User != nil:
		msg = "this target cannot be an instance's"
	}
	if strings.IndexFunc(r.Header.Get("Upgrade"), func(c rune) bool { return c < ' ' || c > '~' }) >= 0 {
		msg = "the header Upgrade names no protocol"
	}
	if msg == "" {
		return false
	}
	w.Header().Set("Connection", "close")
	p.write(w, r, status, &tenant.Error{Code: tenant.CodeInvalid, Op: "route", Msg: msg, Hint: "the request itself is wrong"})
	return true
}

// badLength reports whether there is more than one length, or one that is no number: over
// HTTP/2, net/http takes the first, or 0.
func badLength(values []string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return v != values[0] || v == "" || strings.Trim(v, "0123456789") != "" })
}

// withoutTunnels removes the wish to go on with a protocol in which the client could say
// to the app what it may not say through the proxy: HTTP itself, or TLS around it.
func withoutTunnels(h http.Header) {
	for _, value := range h["Upgrade"] {
		for protocol := range strings.SplitSeq(value, ",") {
			name, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(protocol)), "/")
			switch name {
			case "h2c", "h2", "http", "tls":
				h.Del("Upgrade")
				h.Del("Http2-Settings")
				return
			}
		}
	}
}

// ours reports whether only the proxy says to an app what the header says, or
// net/http does. name is in canonical form, perhaps with underscores: to apps that get
// headers as variables (RFC 3875, section 4.1.18) those are hyphens.
func ours(name string) bool {
	if strings.Contains(name, "_") {
		name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Connection", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
		hopHeader, requestIDHeader, tenant.ScheduleHeader:
		return true
	}
	return false
}

// withoutDoubles removes headers that an app could take for those that are ours.
func withoutDoubles(h http.Header) {
	for name := range h {
		if strings.Contains(name, "_") && ours(name) {
			delete(h, name)
		}
	}
}
