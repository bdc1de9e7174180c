package templates

import (
	_ "embed"
	"fmt"
	"io"
	"strings"
	"text/template"
)

//go:embed Caddyfile.tmpl
var caddyfile string

// Caddy is what a Caddyfile says.
type Caddy struct {
	// Domains are the base domains, Services the names of those that answer below them.
	Domains  []string
	Services []string
	// Upstream is where ten serve listens, as HOST:PORT.
	Upstream string
	// AskPath is where it answers whether it serves a host.
	AskPath string
	// Email is for the certificate authority; it may be empty.
	Email string
	// Provider is the name of Caddy's module for the DNS of Domains, such as "cloudflare".
	// With it there is a wildcard certificate for each service, without it one for each
	// host.
	Provider string
}

// variables are the environment variables of well-known DNS modules, as their
// documentation has them; "" for those that find what they need by themselves.
var variables = map[string]string{
	"cloudflare":   "CF_API_TOKEN",
	"digitalocean": "DO_AUTH_TOKEN",
	"duckdns":      "DUCKDNS_API_TOKEN",
	"gandi":        "GANDI_BEARER_TOKEN",
	"hetzner":      "HETZNER_API_TOKEN",
	"route53":      "",
}

// Variable is the environment variable that the provider's module is given.
func (c Caddy) Variable() string {
	if v, ok := variables[c.Provider]; ok {
		return v
	}
	return strings.ToUpper(strings.ReplaceAll(c.Provider, "-", "_")) + "_API_TOKEN"
}

// Write writes the Caddyfile.
func (c Caddy) Write(w io.Writer) error {
	t, err := template.New("Caddyfile").Parse(caddyfile)
	if err == nil {
		err = t.Execute(w, c)
	}
	if err != nil {
		return fmt.Errorf("write Caddyfile: %w", err)
	}
	return nil
}
