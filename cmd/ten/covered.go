package main

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"tenement.dev/internal/certs"
	"tenement.dev/internal/config"
	"tenement.dev/internal/keeper"
)

// soon is how long before its end a certificate file is worth a word.
const soon = 14 * 24 * time.Hour

// uncovered lists the hosts that are served and for which there is no certificate: those of services, and the base domains
// if the API is there. An instance's host stands for all of its service.
func uncovered(cfg *config.Config, domains []string, source *certs.Source) []string {
	var hosts []string
	for _, domain := range domains {
		if cfg.Settings.APIDomain && !source.Covers(domain) {
			hosts = append(hosts, domain)
		}
	}
	for _, service := range slices.Sorted(maps.Keys(cfg.Services)) {
		for _, domain := range domains {
			host := service + "." + domain
			if !source.Covers("any." + host) {
				hosts = append(hosts, "*."+host)
			}
			if cfg.Services[service].ServiceHost && !source.Covers(host) {
				hosts = append(hosts, host)
			}
		}
	}
	return hosts
}

// warnOfCerts tells early of hosts that TLS clients will not reach.
func warnOfCerts(cfg *config.Config, domains []string, source *certs.Source, now time.Time, log *slog.Logger) {
	if source == nil {
		return
	}
	for _, host := range uncovered(cfg, domains, source) {
		log.Warn("no certificate covers a host that is served", "host", host, "hint", "add one to cert and key, or set acme = true")
	}
	if path, end := source.Expiring(); path != "" && end.Sub(now) < soon {
		log.Warn("a certificate ends soon, or has ended", "cert", path, "not_after", end)
	}
}

// checkCerts is what doctor says of certificates; not ok where TLS is not configured.
func checkCerts(cfg *config.Config, domains []string, source *certs.Source, now time.Time) (c keeper.Check, ok bool) {
	if source == nil {
		return c, false
	}
	c = keeper.Check{Name: "certificates", OK: true, Detail: "all hosts are covered"}
	path, end := source.Expiring()
	if path != "" {
		c.Detail += ", by files until " + end.Format(time.DateOnly)
	}
	if path != "" && end.Sub(now) < soon {
		c.OK, c.Detail, c.Hint = false, fmt.Sprintf("%s ends on %s", path, end.Format(time.DateOnly)), "renew it; the file is read again when it changes"
	}
	if hosts := uncovered(cfg, domains, source); len(hosts) > 0 {
		c.OK, c.Detail, c.Hint = false, fmt.Sprintf("no certificate covers %s", some(hosts)), "add one to cert and key of [settings.tls], or set acme = true"
	}
	return c, true
}

// some names the first few.
func some(list []string) string {
	const most = 5
	text := ""
	for i, s := range list[:min(len(list), most)] {
		if i > 0 {
			text += ", "
		}
		text += s
	}
	if len(list) > most {
		text += fmt.Sprintf(" and %d more", len(list)-most)
	}
	return text
}

// warnOfNothing tells of what is configured but has no effect.
func warnOfNothing(cfg *config.Config, httpsPort bool, log *slog.Logger) {
	if len(cfg.Services) == 0 {
		log.Warn("no service is configured, so there is nothing to spawn", "config", cfg.Path, "hint", "a service is two lines: [service.notes] and command = \"python3 app.py\"")
	}
	if httpsPort && !cfg.Settings.TLS.Enabled {
		log.Warn("--https-port has no effect: TLS is not configured", "config", cfg.Path, "hint", "add [settings.tls] with cert and key, or acme = true")
	}
}
