package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"tenement.dev/internal/api"
	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

// groupName is the group whose members may do what root may with a daemon of root's.
const groupName = "tenement"

// adminGroup is the group of the system's daemon, 0 where there is none.
func (w world) adminGroup(system bool) int {
	if !system {
		return 0
	}
	group, err := user.LookupGroup(groupName)
	if err != nil {
		return 0
	}
	gid, err := strconv.Atoi(group.Gid)
	if err != nil {
		return 0
	}
	return gid
}

// listenAt makes the TCP listener that a key asks for, nil where none is wanted.
func listenAt(key, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &tenant.Error{
			Code: tenant.CodeConflict, Op: "listen", Err: err,
			Msg:  fmt.Sprintf("cannot listen on %s = %q: %v", key, address, errors.Unwrap(err)),
			Hint: "choose another address in tenement.toml",
		}
	}
	return l, nil
}

// warnOfAPI says where tokens would cross a network that others can listen to.
func warnOfAPI(s config.Settings, domains []string, log *slog.Logger) {
	const hint = "put TLS in front, or use the loopback and ssh -L"
	if addr, err := netip.ParseAddrPort(s.APIListen); err == nil && !addr.Addr().IsLoopback() {
		log.Warn("the management API is served to the network without TLS: who listens there reads tokens", "api_listen", s.APIListen, "hint", hint)
	}
	if s.APIDomain && !s.TLS.Enabled && slices.ContainsFunc(domains, func(d string) bool { return !isLocal(d) }) && len(s.TrustedProxies) == 0 {
		log.Warn("the management API is served at the base domain without TLS: who listens on the way reads tokens", "domains", domains, "hint", hint)
	}
}

// onDomain gives what serves the base domain itself: the API and the dashboard, where
// they are wanted.
func onDomain(settings func() config.Settings, manage, dash http.Handler) func(*http.Request) http.Handler {
	return func(r *http.Request) http.Handler {
		switch s := settings(); {
		case !s.APIDomain:
			return nil
		case forAPI(r):
			return manage
		case s.Dashboard && r.URL.Path != api.MetricsPath:
			return dash
		}
		return nil
	}
}

func forAPI(r *http.Request) bool {
	return r.URL.Path == api.Prefix || strings.HasPrefix(r.URL.Path, api.Prefix+"/")
}

// onListener serves api_listen, with the dashboard where that is wanted, and the Unix
// socket, which no browser comes to.
func onListener(settings func() config.Settings, manage, dash http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, unix := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr)
		if unix || forAPI(r) || r.URL.Path == api.MetricsPath || !settings().Dashboard {
			manage.ServeHTTP(w, r)
			return
		}
		dash.ServeHTTP(w, r)
	})
}
