package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"

	"tenement.dev/internal/api"
	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

// sockets are what a daemon listens on.
type sockets struct {
	// plain and secure are for clients, and unserved those for TLS where there is none.
	plain, secure, unserved []net.Listener
	// api is for operators' orders, and metrics for who reads them, nil where nobody does.
	api     []net.Listener
	metrics net.Listener
}

// listen makes a daemon's sockets, but for those of addOperators. What it could make is
// given also where it fails.
func listen(o serveOptions, s config.Settings, runtime string, admins int) (made sockets, err error) {
	made.plain, made.api, err = listenHTTP(o.listen, o.port, o.domains)
	if err != nil {
		return made, err
	}
	if s.TLS.Enabled {
		made.plain, made.secure, err = listenTLS(made.plain, o)
	} else {
		made.plain, made.unserved = splitSecure(made.plain, o.httpsPort)
	}
	if err == nil {
		err = made.addManagement(runtime, admins)
	}
	return made, err
}

// addManagement makes the socket in the runtime directory, if systemd has passed on none.
func (s *sockets) addManagement(runtime string, group int) error {
	if len(s.api) > 0 {
		return nil
	}
	l, err := api.Listen(filepath.Join(runtime, socketName), group)
	if err != nil {
		return err
	}
	s.api = append(s.api, l)
	return nil
}

// addOperators makes those that the configuration asks for.
func (s *sockets) addOperators(settings config.Settings) error {
	remote, err := listenAt("api_listen", settings.APIListen)
	if err != nil {
		return err
	}
	if remote != nil {
		s.api = append(s.api, remote)
	}
	s.metrics, err = listenAt("metrics_listen", settings.MetricsListen)
	return err
}

func (s *sockets) close() {
	for _, list := range [][]net.Listener{s.plain, s.secure, s.unserved, s.api} {
		for _, l := range list {
			l.Close()
		}
	}
	if s.metrics != nil {
		s.metrics.Close()
	}
}

// listenHTTP gives the listeners for clients: those that systemd passed on
// (sd_listen_fds(3)), else new ones. Domains that only this machine can resolve are
// served on the loopback alone. Unix sockets that systemd passed on are for operators.
func listenHTTP(address string, port int, domains []string) (clients, operators []net.Listener, err error) {
	passed, err := activation.Listeners()
	if err != nil {
		return nil, nil, fmt.Errorf("take over sockets from systemd: %w", err)
	}
	for _, l := range passed {
		switch l.(type) {
		case nil: // not a stream socket
		case *net.UnixListener:
			operators = append(operators, l)
		default:
			clients = append(clients, l)
		}
	}
	if len(clients) == 0 {
		clients, err = listenTCP(address, port, domains, "--port")
	}
	return clients, operators, err
}

// listenTCP makes listeners; flag chooses the port.
func listenTCP(address string, port int, domains []string, flag string) ([]net.Listener, error) {
	hosts := []string{address}
	if address == "" && !slices.ContainsFunc(domains, func(d string) bool { return !isLocal(d) }) {
		hosts = []string{"127.0.0.1", "::1"}
	}
	var listeners []net.Listener
	for _, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil && host == "::1" && !errors.Is(err, unix.EADDRINUSE) {
			continue // a machine without IPv6
		}
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return nil, explainListen(host, port, flag, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// baseDomains are those of the command line, else of the file, else localhost.
func baseDomains(given []string, cfg *config.Config) ([]string, error) {
	switch {
	case len(given) > 0:
		return config.CheckDomains(given)
	case len(cfg.Settings.Domains) > 0:
		return cfg.Settings.Domains, nil
	}
	return []string{"localhost"}, nil
}

// isLocal reports whether the domain is of the loopback (RFC 6761, section 6.3).
func isLocal(domain string) bool {
	return domain == "localhost" || strings.HasSuffix(domain, ".localhost")
}

func explainListen(host string, port int, flag string, err error) error {
	e := &tenant.Error{
		Code: tenant.CodeConflict, Op: "listen", Err: err,
		Msg:  fmt.Sprintf("cannot listen on %s: %v", net.JoinHostPort(host, strconv.Itoa(port)), err),
		Hint: "choose another address with --listen",
	}
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		e.Msg = fmt.Sprintf("port %d is in use", port)
		e.Hint = fmt.Sprintf("choose another with %s, or see who has it: ss -ltnp 'sport = :%d'", flag, port)
	case errors.Is(err, os.ErrPermission):
		e.Msg = fmt.Sprintf("this user may not listen on port %d", port)
		e.Hint = "choose a port from 1024 on with " + flag + ", or let systemd pass the socket on"
	}
	return e
}
