package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"tenement.dev/internal/api"
	"tenement.dev/internal/cgroup"
	"tenement.dev/internal/config"
	"tenement.dev/internal/keeper"
	"tenement.dev/internal/metrics"
)

// newMetrics makes what counts; tree is nil where it is not known what instances use.
func newMetrics(cfg *config.Config, tree *cgroup.Tree) *metrics.Metrics {
	o := metrics.Options{Version: buildVersion}
	if tree != nil {
		o.Use = tree.Use
	}
	m := metrics.New(o)
	setMetrics(m, cfg)
	return m
}

func setMetrics(m *metrics.Metrics, cfg *config.Config) {
	m.SetServices(slices.Collect(maps.Keys(cfg.Services)))
	n := 0
	if cfg.Settings.MetricsPerInstance {
		n = cfg.Settings.MetricsMaxInstances
	}
	m.SetInstances(n)
}

// serveMetrics serves metrics on a listener of their own until ctx ends.
func serveMetrics(ctx context.Context, l net.Listener, handler http.Handler, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("GET "+api.MetricsPath, notForInstances(handler, log))
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics on %s: %w", l.Addr(), err)
	}
	return nil
}

// notForInstances refuses clients that run as an instance's user: they share the
// loopback, and metrics name all other instances. Instances without a user of their own
// cannot be told from others.
func notForInstances(handler http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, err := loopbackUID(r)
		if err != nil || keeper.FirstUID <= uid && uid <= keeper.LastUID {
			log.Warn("metrics refused", "client", r.RemoteAddr, "uid", uid, "err", err)
			http.Error(w, "not for instances", http.StatusForbidden)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// loopbackUID tells whose socket a request came from over the loopback.
func loopbackUID(r *http.Request) (int, error) {
	server, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return 0, errors.New("find client: not TCP")
	}
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return 0, fmt.Errorf("find client: %w", err)
	}
	return socketUID(client, server.AddrPort())
}
