package packaging

import (
	"bytes"
	"fmt"
)

// CaddyUpstream is where the daemon listens behind Caddy.
const CaddyUpstream = "127.0.0.1:8080"

// Configure is the default tenement.toml for a base domain, if there is one, and for Caddy
// in front.
func Configure(text []byte, domain string, caddy bool) []byte {
	if domain != "" {
		text = bytes.Replace(text, []byte("#domain = \"app.example.com\""), fmt.Appendf(nil, "domain = %q", domain), 1)
	}
	if caddy {
		text = bytes.Replace(text, []byte("#trusted_proxies = "), []byte("trusted_proxies = "), 1)
	}
	return text
}

// CaddySocket has the daemon leave the ports 80 and 443 to Caddy.
func CaddySocket() File {
	return File{Path: "/etc/systemd/system/tenement.socket.d/caddy.conf", Mode: 0o644, Text: []byte(`# Written by ` + "`ten install --caddy`" + `: Caddy has the ports 80 and 443.
[Socket]
ListenStream=
ListenStream=` + CaddyUpstream + `
ListenStream=/run/tenement/api.sock
`)}
}
