package proxy

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// HTTPS is what clients are told of TLS.
type HTTPS struct {
	// Port is where TLS is served.
	Port int
	// Redirect sends clients there that have come without it.
	Redirect bool
	// HSTS is for how long browsers shall use nothing else (RFC 6797), 0 for no word of it.
	HSTS time.Duration
	// Trusted says whether a client is a proxy whose X-Forwarded-Proto is believed.
	Trusted func(netip.Addr) bool
}

// Handler tells clients of TLS and leaves their requests to next.
func (h HTTPS) Handler(next http.Handler) http.Handler {
	policy := fmt.Sprintf("max-age=%d", int64(h.HSTS.Seconds()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := hostName(r.Host)
		switch {
		case h.secure(r):
			if h.HSTS > 0 {
				w.Header().Set("Strict-Transport-Security", policy)
			}
			next.ServeHTTP(w, r)
		case h.Redirect && ok && r.RequestURI != "*":
			if h.Port != 443 {
				name = net.JoinHostPort(name, strconv.Itoa(h.Port))
			}
			// 308 keeps the method and the body (RFC 9110, section 15.4.9).
			http.Redirect(w, r, "https://"+name+r.URL.RequestURI(), http.StatusPermanentRedirect)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// secure reports whether the client uses TLS, with us or with a trusted proxy.
func (h HTTPS) secure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	addr, ok := clientAddr(r.Context())
	return ok && r.Header.Get("X-Forwarded-Proto") == "https" && h.Trusted(addr)
}
