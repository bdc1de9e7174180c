package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

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
