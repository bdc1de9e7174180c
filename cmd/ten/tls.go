package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

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
		o.ACME = authority(t)
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

// authority is whom certificates are ordered from, and how many.
func authority(t config.TLS) *certs.ACME {
	a := &certs.ACME{
		Directory: t.Directory, RootCA: t.DirectoryCA, Email: t.Email,
		PerHour: t.OrdersPerHour, PerDomain: t.OrdersPerDomain,
	}
	if t.Staging {
		a.Directory = certs.LetsEncryptStaging
	}
	return a
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
	plain, secure = splitPort(listeners, o.httpsPort)
	if len(secure) == 0 {
		secure, err = listenTCP(o.listen, o.httpsPort, o.domains, "--https-port")
	}
	return plain, secure, err
}

// splitPort takes the listeners on a port out of a list.
func splitPort(listeners []net.Listener, port int) (others, on []net.Listener) {
	for _, l := range listeners {
		if addr, ok := l.Addr().(*net.TCPAddr); ok && addr.Port == port {
			on = append(on, l)
		} else {
			others = append(others, l)
		}
	}
	return others, on
}

// splitSecure takes out the listeners for TLS that systemd has passed on though there are
// no certificates, as a package's socket unit does: HTTP in the clear is not for them.
func splitSecure(listeners []net.Listener, port int) (plain, unserved []net.Listener) {
	plain, unserved = splitPort(listeners, port)
	if len(plain) == 0 {
		return listeners, nil // asked for so, by --port
	}
	return plain, unserved
}

// refuse closes all connections to a port that systemd holds open and nobody serves: they
// would wait there for ever.
func refuse(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			conn.Close()
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE):
			select { // others have taken what there is; it passes
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		case !errors.Is(err, unix.ECONNABORTED):
			return fmt.Errorf("close connections to %s: %w", l.Addr(), err)
		}
	}
}

// https is what clients are told of TLS.
func https(cfg *config.Config, port int, trusted func(netip.Addr) bool) proxy.HTTPS {
	t := cfg.Settings.TLS
	return proxy.HTTPS{Port: port, Redirect: t.Redirect, HSTS: t.HSTS, Trusted: trusted}
}
