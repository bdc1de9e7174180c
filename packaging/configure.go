package packaging

import (
	"bytes"
	"fmt"
	"strings"
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
		text = bytes.Replace(text, []byte("#public = "), []byte("public = "), 1)
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

// stockCaddyfile is what is active in the Caddyfile of Caddy's packages.
const stockCaddyfile = ":80 { | root * /usr/share/caddy | file_server | }"

// Caddyfile is that of Caddy's service, in the place of the one that its package brings.
func Caddyfile(text []byte) File {
	return File{Path: "/etc/caddy/Caddyfile", Mode: 0o644, Text: text, Stock: isStockCaddyfile}
}

func isStockCaddyfile(text []byte) bool {
	var active []string
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 0 && !strings.HasPrefix(words[0], "#") {
			active = append(active, strings.Join(words, " "))
		}
	}
	return strings.Join(active, " | ") == stockCaddyfile
}
