package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"tenement.dev/internal/accesslog"
	"tenement.dev/internal/api"
	"tenement.dev/internal/auth"
	"tenement.dev/internal/calendar"
	"tenement.dev/internal/certs"
	"tenement.dev/internal/cgroup"
	"tenement.dev/internal/config"
	"tenement.dev/internal/dashboard"
	"tenement.dev/internal/event"
	"tenement.dev/internal/ingress"
	"tenement.dev/internal/lifecycle"
	"tenement.dev/internal/metrics"
	"tenement.dev/internal/pressure"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/rollout"
	"tenement.dev/internal/socket"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
	"tenement.dev/journal"
	"tenement.dev/proxy"
	"tenement.dev/templates"
)

// parts are those of a daemon. Some need each other: what is a function here is called when
// all are there.
type parts struct {
	*program
	serveOptions
	// began is the configuration of the start.
	began *config.Config
	// private and runtime are the daemon's own directories.
	private, runtime string
	// admins is the group that may give orders, 0 for none.
	admins int
	origin origin
	powers powers
	store  *registry.Registry
	// tree is nil where the machine does not tell what instances use.
	tree *cgroup.Tree
	log  *slog.Logger

	counted  *metrics.Metrics
	memory   *pressure.Memory
	events   *event.Bus
	tokens   *auth.Tokens
	answers  *rollout.Meter
	manager  *lifecycle.Manager
	rollouts *rollout.Engine
	access   *accesslog.Log
	front    *proxy.Proxy
	// source is nil where TLS is not configured.
	source  *certs.Source
	reloads *reloader
	manage  *api.API
	file    *registryFile
	dash    *dashboard.Dashboard
}

// assemble makes the parts that are not there yet; nothing runs before run. Signals that
// come on hangups have the configuration read again.
func (d *parts) assemble(ctx context.Context, hangups <-chan os.Signal) (err error) {
	d.counted = newMetrics(d.began, d.tree)
	d.memory = pressure.NewMemory(pressure.Options{Slice: sliceDir(d.powers.host.User, d.euid), Log: d.log})
	d.events = event.NewBus(event.Kept)
	if d.tokens, err = auth.Load(ctx, d.store, d.events, d.log); err != nil {
		return err
	}
	d.answers = &rollout.Meter{}
	d.manager = lifecycle.New(d.lifecycleOptions())
	d.counted.SetSource(crowd{d.manager})
	d.rollouts = rollout.New(rollout.Options{Fleet: d.manager, Store: d.store, Meter: d.answers, Events: d.events, Log: d.log})
	d.access = newAccessLog(d.manager.Config, d.out, d.log)
	d.front = proxy.New(d.proxyOptions())
	if d.source, err = newCerts(d.began, d.private, d.known, d.log); err != nil {
		return err
	}
	warnOfCerts(d.began, d.domains, d.source, d.now(), d.log)
	warnOfNothing(d.began, d.httpsGiven, d.log)
	d.file = &registryFile{check: d.store.Check, path: filepath.Join(d.private, registryName), log: d.log}
	d.reloads = d.newReloader(ctx, hangups)
	d.manage = api.New(d.apiOptions())
	d.counted.SetStreams(d.manage.Streams)
	d.dash = newDashboard(d.manage, d.manager, d.tree, d.events, d.trusted, d.log)
	return nil
}

// run has the parts work until ctx ends, but for those that serve.
func (d *parts) run(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error { return journal.NewEvents(d.log, d.logsToJournal()).Run(ctx, d.events) })
	group.Go(func() error { return d.memory.Run(ctx) })
	group.Go(func() error { return d.powers.controller.Run(ctx) })
	group.Go(func() error { return d.manager.Run(ctx) })
	group.Go(func() error { return d.front.Run(ctx) })
	group.Go(func() error { return d.access.Run(ctx) })
	group.Go(func() error { return d.tokens.Run(ctx) })
	group.Go(func() error { return d.dash.Run(ctx) })
	group.Go(func() error { return d.file.run(ctx) })
}

// runReady is run for those who ask for instances: the manager must know them all.
func (d *parts) runReady(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error { return d.rollouts.Run(ctx) })
	if d.source != nil {
		group.Go(func() error { return d.source.Run(ctx) })
	}
	group.Go(func() error {
		saveMemory(d.manager.Len())
		return nil
	})
	group.Go(func() error { return watchdog(ctx, d.manager, d.log) })
}

// servers are those for clients and for operators. Clients' listeners become what those
// serve: with TLS, and behind proxies.
func (d *parts) servers(s *sockets) (clients *proxy.Server, operators *http.Server) {
	if d.began.Settings.ProxyProtocol {
		for _, list := range [][]net.Listener{s.plain, s.secure} {
			for i, l := range list {
				list[i] = behindProxies(l, d.trusted)
			}
		}
	}
	var handler http.Handler = d.front
	var told proxy.HTTPS
	if d.source != nil {
		told = https(d.began, d.origin.port, d.trusted)
		handler = d.source.HTTP(told.Handler(d.front))
		for _, l := range s.secure {
			s.plain = append(s.plain, tls.NewListener(socket.Listener{Listener: l}, d.source.Config()))
		}
	}
	clients, operators = proxy.NewServer(handler, d.front, d.log), api.NewServer(d.manage)
	if d.began.Settings.FastPath {
		clients.Fast(told)
	}
	operators.Handler = onListener(d.settings, d.manage, d.dash)
	return clients, operators
}

// settings are the present ones.
func (d *parts) settings() config.Settings { return d.manager.Config().Settings }

// service is a service of the present configuration.
func (d *parts) service(name string) (s *config.Service, ok bool) {
	s, ok = d.manager.Config().Services[name]
	return s, ok
}

// trusted reports whether a proxy's word on its clients is taken.
func (d *parts) trusted(addr netip.Addr) bool { return d.manager.Config().Settings.Trusts(addr) }

// known reports whether a host is served here.
func (d *parts) known(host string) bool { return knownHost(d.manager, d.domains)(host) }

// url is where people reach an instance.
func (d *parts) url(id tenant.ID) string { return d.origin.behind(d.settings().Public).url(id) }

func (d *parts) lifecycleOptions() lifecycle.Options {
	o := lifecycle.Options{
		Config:     d.began,
		Controller: d.powers.controller,
		Store:      d.store,
		Doorbell:   func(id tenant.ID) lifecycle.Doorbell { return ingress.Doorbell(d.powers.host.Doorbell(id)) },
		SocketDir:  d.powers.host.SocketDir,
		Resting:    func(id tenant.ID) { d.front.Rest(id) },
		Refused:    func(id tenant.ID, release string, err error) { d.rollouts.Refused(id, release, err) },
		Reserved:   func(host string) bool { _, kind := proxy.ParseHost(host, d.domains...); return kind != proxy.Foreign },
		TXT:        lookupTXT(func() string { return d.settings().DNSResolver }),
		Uses:       d.store,
		Schedules:  d.store,
		Calendar:   calendar.Next,
		Marks:      marks{filepath.Join(d.runtime, "armed")},
		Memory:     d.memory,
		Idle:       pressure.NewCPU("").Idle,
		Boosts:     d.powers.host.Boosts(),
		Events:     d.events,
		Observer:   d.counted,
		Log:        d.log,
	}
	if d.tree != nil {
		o.CPU = func(id tenant.ID) (t lifecycle.CPUTime, err error) {
			if t.Used, err = d.tree.CPU(id); err == nil {
				t.Waited, err = d.tree.Waited(id)
			}
			return t, err
		}
		o.Use = func(id tenant.ID) (time.Duration, int64, error) {
			u, err := d.tree.Use(id)
			return u.CPU, u.Memory, err
		}
	}
	return o
}

func (d *parts) proxyOptions() proxy.Options {
	return proxy.Options{
		Access:  d.access,
		Domain:  d.domains[0],
		Also:    d.domains[1:],
		Waker:   d.manager,
		Router:  d.manager,
		Trusted: d.trusted,
		Known:   d.known,
		Pages: func(service string) *templates.Pages {
			if s, ok := d.service(service); ok {
				return s.Pages
			}
			return nil
		},
		Patience: func(service string) time.Duration {
			if s, ok := d.service(service); ok {
				return s.WaitingPage
			}
			return 0
		},
		Root: onDomain(d.settings,
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.manage.ServeHTTP(w, r) }),
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.dash.ServeHTTP(w, r) })),
		Observer: d.counted,
		Answered: func(id tenant.ID, status int) {
			if release := d.manager.Running(id); release != "" {
				d.answers.Count(id.Service, release, status)
			}
		},
		Log: d.log,
	}
}

func (d *parts) newReloader(ctx context.Context, hangups <-chan os.Signal) *reloader {
	return &reloader{
		signals: hangups, asked: make(chan chan reloaded), old: d.began, adopt: d.powers.adopt, events: d.events, log: d.log,
		look: func(cfg *config.Config) {
			warnOfServices(cfg, lookedAt(ctx, cfg, d.powers.host, d.powers.sandbox, d.log), d.log)
			warnOfCerts(cfg, d.domains, d.source, d.now(), d.log)
			warnOfNothing(cfg, d.httpsGiven, d.log)
		},
		unserved: func(cfg *config.Config) []string { return unserved(cfg, d.manager.List()) },
		set: func(cfg *config.Config) {
			setMetrics(d.counted, cfg)
			d.manager.SetConfig(cfg)
		},
	}
}

func (d *parts) apiOptions() api.Options {
	return api.Options{
		Instances:  d.manager,
		Operator:   d.manager,
		Router:     d.manager,
		Domains:    d.manager,
		Keeper:     d.manager,
		Limiter:    d.manager,
		Uses:       d.manager,
		Pauser:     d.manager,
		Secrets:    d.manager,
		Backups:    d.manager,
		Tokens:     d.tokens,
		Events:     d.events,
		Group:      d.admins,
		Rollouts:   d.rollouts,
		Logs:       journalLogs{journal.New(journalScope(d.powers.host.User))},
		Doctor:     d.doctor,
		Reload:     d.reloads.Reload,
		ClientAddr: func(r *http.Request) netip.Addr { return proxy.ClientAddr(r, d.trusted) },
		URL:        d.url,
		Services:   services(d.manager),
		Version:    version(),
		Metrics:    d.counted.Handler(),
		Log:        d.log,
	}
}

// doctor is what the daemon finds out about its machine and itself.
func (d *parts) doctor(ctx context.Context) ([]wire.Check, error) {
	list, err := allChecks(ctx, d.powers.host, d.powers.checks, d.powers.sandbox)
	if err != nil {
		return wireChecks(list), err
	}
	cfg, instances := d.manager.Config(), d.manager.List()
	if check, ok := checkCerts(cfg, d.domains, d.source, d.now()); ok {
		list = append(list, check)
	}
	if check, ok := checkServiceHosts(cfg, d.domains[0], instances); ok {
		list = append(list, check)
	}
	bounded, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	if loaded, err := d.powers.controller.List(bounded); err == nil {
		list = append(list, checkOrphans(cfg, instances, loaded)...)
	}
	if check, ok := checkRoom(roomAt, "room on the disk", diskHint, cfg.Settings.DataDir, d.private); ok {
		list = append(list, check)
	}
	if check, ok := checkRoom(roomAt, "room in /run", runHint, d.powers.host.RuntimeDir); ok {
		list = append(list, check)
	}
	if check, ok := d.file.doctor(ctx); ok {
		list = append(list, check)
	}
	return wireChecks(list), nil
}
