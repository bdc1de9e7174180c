package proxy

import (
	"net/http"
	"strconv"
	"strings"

	"tenement.dev/internal/tenant"
	"tenement.dev/proxy/plain"
)

// leadBack makes a redirect to the port where the app listens one to the host that the
// client has asked for, as nginx and Apache do: some frameworks put together their
// own URLs from where they listen, and nobody but Tenement gets there. Other ports of a
// loopback are the client's own.
func leadBack(resp *http.Response, app tenant.Endpoint) {
	location := resp.Header["Location"]
	if len(location) != 1 {
		return
	}
	port := app.Port()
	if port == 0 {
		return
	}
	for _, loopback := range plain.Loopbacks {
		rest, ok := strings.CutPrefix(location[0], loopback+strconv.Itoa(port))
		if !ok || rest != "" && !strings.ContainsRune("/?#", rune(rest[0])) {
			continue
		}
		asked := resp.Request.Header
		proto, _, _ := strings.Cut(asked.Get("X-Forwarded-Proto"), ",")
		host, _, _ := strings.Cut(asked.Get("X-Forwarded-Host"), ",")
		if proto == "http" || proto == "https" {
			location[0] = proto + "://" + strings.TrimSpace(host) + rest
		}
		return
	}
}
