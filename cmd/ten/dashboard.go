package main

import (
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tenement.dev/internal/cgroup"
	"tenement.dev/internal/dashboard"
	"tenement.dev/internal/event"
	"tenement.dev/internal/lifecycle"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// newDashboard makes the dashboard, which asks manage for all it shows and does.
func newDashboard(manage http.Handler, m *lifecycle.Manager, tree *cgroup.Tree, events *event.Bus, trusted func(netip.Addr) bool, log *slog.Logger) *dashboard.Dashboard {
	o := dashboard.Options{API: manage, Last: events.Last, Instances: m, Secure: overTLS(trusted), Log: log}
	if tree != nil {
		o.Use = func(id tenant.ID) (time.Duration, int64, error) {
			u, err := tree.Use(id)
			return u.CPU, u.Memory, err
		}
	}
	return dashboard.New(o)
}

// overTLS reports whether a browser's own connection is one of TLS, by the word of a
// proxy in front where that is trusted.
func overTLS(trusted func(netip.Addr) bool) func(*http.Request) bool {
	return func(r *http.Request) bool {
		if r.TLS != nil {
			return true
		}
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		return err == nil && trusted(peer.Addr().Unmap()) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
	}
}

// services tells of the configured services.
func services(m *lifecycle.Manager) func() []wire.Service {
	return func() []wire.Service {
		cfg := m.Config()
		list := make([]wire.Service, 0, len(cfg.Services))
		for name, s := range cfg.Services {
			one := wire.Service{
				Name: name, Isolation: s.Isolation, Network: s.Network, Release: s.Release, Health: s.Health,
				IdleTimeoutMS: float64(s.IdleTimeout.Milliseconds()), DozeTimeoutMS: float64(s.DozeTimeout.Milliseconds()),
				Schedule: s.Schedule, OnDemand: s.OnDemand, ServiceHost: s.ServiceHost, MaxInstances: s.MaxInstances,
			}
			if s.Release != "" {
				one.Release = m.ServiceRelease(name)
			}
			if p, ok := m.Paused(tenant.ID{Service: name}); ok {
				one.Paused = &p
			}
			list = append(list, one)
		}
		slices.SortFunc(list, func(a, b wire.Service) int { return strings.Compare(a.Name, b.Name) })
		return list
	}
}
