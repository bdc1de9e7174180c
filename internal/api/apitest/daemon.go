package apitest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tenement.dev/internal/api"
	"tenement.dev/internal/auth"
	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// Daemon is a running API and what it works on.
type Daemon struct {
	Path      string // of the socket
	Instances *Instances
	Logs      *Logs
	Tokens    *auth.Tokens
	Events    *event.Bus
	// TCP is the address that it serves clients with tokens at.
	TCP string
	// Streams is how many it has open.
	Streams func() int
	// API is what it serves.
	API     http.Handler
	stop    func() error
	scrapes atomic.Int64
}

// Version is which build a Daemon says it is.
var Version = wire.Version{Version: "1.2.3", Commit: "abcdef012345", Go: "go1.99"}

// checks is what a Daemon's doctor says.
func checks(context.Context) ([]wire.Check, error) {
	return []wire.Check{
		{Name: "systemd", OK: true, Detail: "257.9"},
		{Name: "doze", OK: false, Detail: "instances cannot be frozen", Hint: "needs cgroup v2"},
	}, nil
}

// url is where a Daemon says that an instance answers.
func url(id tenant.ID) string {
	return "http://" + id.Name + "." + id.Service + ".localhost:8080"
}

// Start runs a Daemon with its socket at path until the test ends or Stop is called.
func Start(t testing.TB, path string) *Daemon {
	t.Helper()
	d, err := Run(path)
	if err != nil {
		t.Fatalf("run the daemon: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Errorf("stop the daemon: %v", err)
		}
	})
	return d
}

// Run runs a Daemon with its socket at path until Stop is called. It knows the services
// "notes" and "broken", whose app ends at once.
func Run(path string) (*Daemon, error) {
	ln, err := api.Listen(path, 0)
	if err != nil {
		return nil, err
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	events := event.NewBus(event.Kept)
	tokens, err := auth.Load(context.Background(), &tokenStore{}, events, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, errors.Join(err, ln.Close(), tcp.Close())
	}
	logs := newLogs()
	d := &Daemon{
		Path: path, Instances: newInstances(logs), Logs: logs, Tokens: tokens, Events: events, TCP: tcp.Addr().String(),
	}
	a := api.New(api.Options{
		Instances: d.Instances, Operator: d.Instances, Router: d.Instances, Domains: d.Instances,
		Keeper: d.Instances, Limiter: d.Instances, Uses: d.Instances, Rollouts: newRollouts(), Pauser: d.Instances, Backups: d.Instances, Secrets: d.Instances, Logs: logs, Tokens: tokens, Events: events,
		Services: func() []wire.Service {
			return []wire.Service{{Name: "broken", Isolation: tenant.IsolationNamespace, Network: tenant.NetworkHost}, {Name: "notes", Isolation: tenant.IsolationNamespace, Network: tenant.NetworkHost, IdleTimeoutMS: 1000, Release: "v1", ServiceHost: true}}
		},
		Doctor: checks, Reload: d.reload, URL: url, Version: Version, Metrics: http.HandlerFunc(d.metrics), Log: slog.New(slog.DiscardHandler),
	})
	d.Streams = a.Streams
	d.API = a
	server := api.NewServer(a)
	done := make(chan error, 2)
	for _, l := range []net.Listener{ln, tcp} {
		go func() { done <- server.Serve(l) }()
	}
	d.stop = sync.OnceValue(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := server.Shutdown(ctx)
		for range 2 {
			if served := <-done; !errors.Is(served, http.ErrServerClosed) {
				err = errors.Join(err, served)
			}
		}
		return err
	})
	return d, nil
}

// metrics has, of each instance that is awake, some more of everything each time.
func (d *Daemon) metrics(w http.ResponseWriter, _ *http.Request) {
	n := d.scrapes.Add(1)
	for _, s := range d.Instances.List() {
		if s.State == tenant.Awake {
			labels := fmt.Sprintf("{service=%q,tenant=%q}", s.ID.Service, s.ID.Name)
			fmt.Fprintf(w, "# TYPE tenement_instance_requests_total counter\ntenement_instance_requests_total%s %d\n", labels, 1000*n)
			fmt.Fprintf(w, "tenement_instance_cpu_seconds_total%s %g\ntenement_instance_memory_bytes%s 2.097152e+07\n", labels, 0.001*float64(n), labels)
		}
	}
}

// reload fails where the instance notes:faulty is there.
func (d *Daemon) reload(context.Context) (path string, unserved []string, err error) {
	if _, err := d.Instances.Get(tenant.ID{Service: "notes", Name: "faulty"}); err == nil {
		return "", nil, &tenant.Error{
			Code: tenant.CodeConflict, Op: "reload", Msg: "tenement.toml was not taken, and what was read before stays",
			Hint: "mend it", Log: []string{"tenement.toml:3: colour: unknown key", "tenement.toml:4: shape: unknown key"},
		}
	}
	for _, s := range d.Instances.List() {
		if s.ID.Service == "gone" {
			unserved = append(unserved, s.ID.String())
		}
	}
	return "/srv/tenement.toml", unserved, nil
}

// Stop ends the Daemon; its socket is gone afterwards.
func (d *Daemon) Stop() error { return d.stop() }
