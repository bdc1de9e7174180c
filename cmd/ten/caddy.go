package main

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"

	"github.com/spf13/cobra"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
	"tenement.dev/proxy"
	"tenement.dev/templates"
)

// provider is what a module's name looks like.
var provider = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,40}$`)

// email is what an address in a Caddyfile must look like to be one word of it.
var email = regexp.MustCompile(`^[^\s"{}#@]+@[^\s"{}#@]+$`)

func newCaddyCommand(p *program) *cobra.Command {
	var path string
	c := templates.Caddy{AskPath: proxy.AskPath}
	cmd := &cobra.Command{
		Use:   "caddy",
		Short: "Write a Caddyfile, for Caddy before ten serve",
		Long: `Write a Caddyfile for Caddy before ten serve, to standard output. Caddy takes care of
certificates and HTTPS, and asks ten serve which hosts it serves.

With --dns-provider there is one wildcard certificate for each service; Caddy must have
that DNS module. Without it each host gets its own certificate with its first request.`,
		Example: "  ten caddy --domain app.example.com > /etc/caddy/Caddyfile\n  ten caddy --domain app.example.com --dns-provider cloudflare",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := noArgs(cmd, args); err != nil {
				return err
			}
			for i, domain := range c.Domains {
				host, err := tenant.ParseHost(domain)
				if err != nil {
					return usage(cmd, "--domain takes the base domain, such as app.example.com")
				}
				c.Domains[i] = host
			}
			if _, _, err := net.SplitHostPort(c.Upstream); err != nil {
				return usage(cmd, "--upstream takes where ten serve listens, such as 127.0.0.1:8080")
			}
			if c.Provider != "" && !provider.MatchString(c.Provider) {
				return usage(cmd, fmt.Sprintf("%.40q is not the name of a DNS module of Caddy's", c.Provider))
			}
			if c.Email != "" && !email.MatchString(c.Email) {
				return usage(cmd, fmt.Sprintf("%.80q is not an e-mail address", c.Email))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(p.fileOr(cmd, path))
			if err != nil {
				return err
			}
			if len(c.Domains) == 0 {
				c.Domains = cfg.Settings.Domains
			}
			if len(c.Domains) == 0 {
				return usage(cmd, "--domain must say the base domain, such as app.example.com, since tenement.toml does not")
			}
			c.Services = slices.Sorted(maps.Keys(cfg.Services))
			return c.Write(p.out)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&path, "config", "c", defaultConfig, "configuration `file`, for the names of the services; where there is none here, that of /etc/tenement")
	flags.StringSliceVar(&c.Domains, "domain", nil, "base `domain` of all instances, or several (default: that of tenement.toml)")
	flags.StringVar(&c.Upstream, "upstream", "127.0.0.1:8080", "`address` of ten serve")
	flags.StringVar(&c.Provider, "dns-provider", "", "`name` of Caddy's DNS module, such as cloudflare")
	flags.StringVar(&c.Email, "email", "", "`address` for the certificate authority")
	return cmd
}
