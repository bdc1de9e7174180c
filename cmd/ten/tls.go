package main

import (
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"

	"tenement.dev/internal/certs"
	"tenement.dev/internal/config"
	"tenement.dev/internal/lifecycle"
	"tenement.dev/internal/tenant"
	"tenement.dev/proxy"
)

// newCerts gives the source of certificates, nil where TLS is not configured. dir is
// where it keeps what it gets.
func newCerts(cfg *config.Config, dir string, known func(string) bool, log *slog.Logger) (*certs.Source, error) {
	t := cfg.Settings.TLS
	if !t.Enabled {
		return nil, nil
	}
	o := certs.Options{Known: known, Dir: filepath.Join(dir, "tls"), Log: log}
	for i := range t.Certs {
		o.Files = append(o.Files, certs.Pair{Cert: t.Certs[i], Key: t.Keys[i]})
	}
	if t.ACME {
		o.ACME = &certs.ACME{
			Directory: t.Directory, RootCA: t.DirectoryCA, Email: t.Email,
			PerHour: t.OrdersPerHour, PerDomain: t.OrdersPerDomain,
		}
		if t.Staging {
			o.ACME.Directory = certs.LetsEncryptStaging
		}
	}
	source, err := certs.New(o)
	if err != nil {
		return nil, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "serve", Err: err,
			Msg:  "the certificates of [settings.tls] cannot be used: " + err.Error(),
			Hint: "see that the files are there, fit each other, and can be read by the user that runs ten serve",
		}
	}
	return source, nil
}

// knownHost reports whether a host is served here, by names alone.
func knownHost(m *lifecycle.Manager, domains []string) func(host string) bool {
	return func(host string) bool {
		id, kind := proxy.ParseHost(host, domains...)
		switch kind {
		case proxy.Root:
			return true
		case proxy.Service:
			s, ok := m.Config().Services[id.Service]
			return ok && s.ServiceHost
		case proxy.Instance:
			_, err := m.Get(id)
			return err == nil
		case proxy.Foreign:
			return proxy.KnownDomain(m, host)
		}
		return false
	}
}

// listenTLS finds the listeners for TLS among those that systemd passed on, by their
// port, or makes them.
func listenTLS(listeners []net.Listener, o serveOptions) (plain, secure []net.Listener, err error) {
	for _, l := range listeners {
		if addr, ok := l.Addr().(*net.TCPAddr); ok && addr.Port == o.httpsPort {
			secure = append(secure, l)
		} else {
			plain = append(plain, l)
		}
	}
	if len(secure) == 0 {
		secure, err = listenTCP(o.listen, o.httpsPort, o.domains, "--https-port")
	}
	return plain, secure, err
}

// https is what clients are told of TLS.
func https(cfg *config.Config, port int, trusted func(netip.Addr) bool) proxy.HTTPS {
	t := cfg.Settings.TLS
	return proxy.HTTPS{Port: port, Redirect: t.Redirect, HSTS: t.HSTS, Trusted: trusted}
}
