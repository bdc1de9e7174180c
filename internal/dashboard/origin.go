package dashboard

import (
	"net/http"
	"net/url"
)

// sameOrigin reports whether a request was made by a page of this origin. Browsers say
// so, by a header that scripts cannot set (Fetch Metadata, section 2.1); older ones say at
// least from where. Tenants are on the same site as the base domain, but on other origins.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && origin.Host == r.Host
}
