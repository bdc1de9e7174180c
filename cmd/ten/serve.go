package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tenement.dev/internal/api"
	"tenement.dev/internal/auth"
	"tenement.dev/internal/calendar"
	"tenement.dev/internal/config"
	"tenement.dev/internal/dashboard"
	"tenement.dev/internal/event"
	"tenement.dev/internal/ingress"
	"tenement.dev/internal/lifecycle"
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

// drainTimeout is how long requests in flight may take to end when the daemon stops.
const drainTimeout = 10 * time.Second

// dialTimeout bounds the first contact with systemd, and listTimeout the doctor's question to it.
const (
	dialTimeout = 10 * time.Second
	listTimeout = 3 * time.Second
)

// serveOptions are the flags of `ten serve`.
type serveOptions struct {
	config string
	listen string
	port   int
	// httpsPort is where TLS is served, if it is configured.
	httpsPort int
	// httpsGiven says that it was asked for.
	httpsGiven bool
	domains    []string // the first is the one that people are told
	// keeper is the socket of who does what needs root, empty for this process itself.
	keeper string
}

func newServeCommand(p *program) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon: serve requests, wake and stop instances",
		Long: `Run the daemon in the foreground.

It reads tenement.toml, serves http://INSTANCE.SERVICE.DOMAIN and takes orders from
the other commands on a Unix socket. As root it uses the system's manager and gives
each instance a user of its own; as another user it uses that user's manager, or with
--keeper the system's, by asking ` + "`ten keeper`" + ` for what needs root.
Instances go on running when it ends, and it takes them over when it starts again.
SIGHUP makes it read tenement.toml again: running instances get the new one with
their next start.`,
		Example: "  ten serve --port 8080 --domain localhost",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.httpsGiven = cmd.Flags().Changed("https-port")
			err := p.serve(cmd.Context(), o)
			if cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
				return nil // told to end while it was starting
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.config, "config", "c", defaultConfig, "configuration `file`")
	flags.StringVar(&o.listen, "listen", "", "`address` to listen on (default: all, or the loopback for localhost)")
	flags.IntVarP(&o.port, "port", "p", 8080, "TCP `port` to listen on")
	flags.IntVar(&o.httpsPort, "https-port", 443, "TCP `port` for TLS, if tenement.toml has [settings.tls]")
	flags.StringSliceVar(&o.domains, "domain", nil, "base `domain` of all instances, or several (default: that of tenement.toml, or localhost)")
	flags.StringVar(&o.keeper, "keeper", p.getenv("TENEMENT_KEEPER"), "the `socket` of ten keeper, which does what needs root (default: $TENEMENT_KEEPER, else nobody)")
	return cmd
}

// serve runs the daemon until ctx ends. This is the only place that knows all parts.
func (p *program) serve(ctx context.Context, o serveOptions) (err error) {
	logged := newAsyncWriter(p.err)
	defer logged.Close()
	log := slog.New(slog.NewTextHandler(logged, nil))
	// net/http has no other place to say what an app has sent that nobody asked for: it
	// would fill the log with what it likes.
	stdlog.SetOutput(io.Discard)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for flag, port := range map[string]int{"--port": o.port, "--https-port": o.httpsPort} {
		if port < 1 || port > 65535 {
			return &tenant.Error{Code: tenant.CodeInvalid, Op: "serve", Msg: fmt.Sprintf("%d is not a port", port), Hint: flag + " takes 1 to 65535"}
		}
	}
	cfg, err := loadConfig(ctx, o.config)
	if err != nil {
		return err
	}
	if o.domains, err = baseDomains(o.domains, cfg); err != nil {
		return err
	}
	if err := p.checkKeeper(o.keeper); err != nil {
		return err
	}
	separate := o.keeper != ""
	user := p.euid != 0 && !separate // a user's own manager
	private, runtime := p.ownDirs(separate, cfg.Settings.DataDir)
	for _, l := range []struct{ dir, what string }{{private, "data directory"}, {runtime, "runtime directory"}} {
		f, err := lockSoon(ctx, l.dir, l.what)
		if err != nil {
			return err
		}
		defer f.Close()
	}
	listeners, apiListeners, err := listenHTTP(o.listen, o.port, o.domains)
	defer func() { closeAll(listeners); closeAll(apiListeners) }()
	if err != nil {
		return err
	}
	var secure []net.Listener
	if cfg.Settings.TLS.Enabled {
		listeners, secure, err = listenTLS(listeners, o)
		defer func() { closeAll(secure) }()
		if err != nil {
			return err
		}
	}
	var unserved []net.Listener
	if !cfg.Settings.TLS.Enabled {
		listeners, unserved = splitSecure(listeners, o.httpsPort)
		defer func() { closeAll(unserved) }()
	}
	origin := originOf(o, listeners, secure)
	admins := p.adminGroup(!user)
	if apiListeners, err = managementSocket(apiListeners, runtime, admins); err != nil {
		return err
	}
	warnOfAPI(cfg.Settings, o.domains, log)

	group, ctx := errgroup.WithContext(ctx)
	// The order in which parts stop is the reverse of this: clients first.
	below, stopBelow := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBelow()
	end := func(err error) error { // of a start that goes wrong
		stopBelow()
		return errors.Join(err, group.Wait())
	}

	systemd, err := dialSystemd(ctx, user, log)
	if err != nil {
		return err
	}
	defer systemd.Close()
	group.Go(func() error { return systemd.Run(below) })
	var powers powers
	if separate {
		powers, err = keepersPowers(ctx, o.keeper, systemd, cfg, log)
	} else {
		powers, err = p.ownPowers(ctx, systemd, cfg, log)
	}
	if err != nil {
		return end(err)
	}
	host, sandbox := powers.host, powers.sandbox
	warnOfServices(cfg, lookedAt(ctx, cfg, host, sandbox, log), log)
	store, err := registry.Open(ctx, filepath.Join(private, registryName))
	if err != nil {
		return end(err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	remote, metricsListener, err := listenOperators(cfg.Settings) // with the fence around them
	if err != nil {
		return end(err)
	}
	if remote != nil {
		apiListeners = append(apiListeners, remote)
	}
	if metricsListener != nil {
		defer metricsListener.Close()
	}
	tree, err := treeOf(ctx, systemd, log)
	if err != nil {
		return end(err)
	}
	counted := newMetrics(cfg, tree)
	memory := pressure.NewMemory(pressure.Options{Slice: sliceDir(host.User, p.euid), Log: log})
	events := event.NewBus(event.Kept)
	tokens, err := auth.Load(ctx, store, events, log)
	if err != nil {
		return end(err)
	}
	var front *proxy.Proxy // set before anything runs
	var manage *api.API    // too
	var dash *dashboard.Dashboard
	var rollouts *rollout.Engine
	var manager *lifecycle.Manager
	answers := &rollout.Meter{}
	life := lifecycle.Options{
		Config:     cfg,
		Controller: powers.controller,
		Store:      store,
		Doorbell:   func(id tenant.ID) lifecycle.Doorbell { return ingress.Doorbell(host.Doorbell(id)) },
		SocketDir:  host.SocketDir,
		Resting:    func(id tenant.ID) { front.Rest(id) },
		Refused:    func(id tenant.ID, release string, err error) { rollouts.Refused(id, release, err) },
		Reserved:   func(host string) bool { _, kind := proxy.ParseHost(host, o.domains...); return kind != proxy.Foreign },
		TXT:        lookupTXT(func() string { return manager.Config().Settings.DNSResolver }),
		Uses:       store,
		Schedules:  store,
		Calendar:   calendar.Next,
		Marks:      marks{filepath.Join(runtime, "armed")},
		Memory:     memory,
		Idle:       pressure.NewCPU("").Idle,
		Boosts:     host.Boosts(),
		Events:     events,
		Observer:   counted,
		Log:        log,
	}
	if tree != nil {
		life.CPU = func(id tenant.ID) (t lifecycle.CPUTime, err error) {
			if t.Used, err = tree.CPU(id); err == nil {
				t.Waited, err = tree.Waited(id)
			}
			return t, err
		}
		life.Use = func(id tenant.ID) (time.Duration, int64, error) {
			u, err := tree.Use(id)
			return u.CPU, u.Memory, err
		}
	}
	manager = lifecycle.New(life)
	counted.SetSource(crowd{manager})
	rollouts = rollout.New(rollout.Options{Fleet: manager, Store: store, Meter: answers, Events: events, Log: log})
	known := knownHost(manager, o.domains)
	settings := func() config.Settings { return manager.Config().Settings }
	trusted := func(addr netip.Addr) bool { return manager.Config().Settings.Trusts(addr) }
	access := newAccessLog(manager.Config, p.out, log)
	front = proxy.New(proxy.Options{
		Access:  access,
		Domain:  o.domains[0],
		Also:    o.domains[1:],
		Waker:   manager,
		Router:  manager,
		Trusted: trusted,
		Known:   known,
		Pages: func(service string) *templates.Pages {
			if s, ok := manager.Config().Services[service]; ok {
				return s.Pages
			}
			return nil
		},
		Patience: func(service string) time.Duration {
			if s, ok := manager.Config().Services[service]; ok {
				return s.WaitingPage
			}
			return 0
		},
		Root: onDomain(settings,
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { manage.ServeHTTP(w, r) }),
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { dash.ServeHTTP(w, r) })),
		Observer: counted,
		Answered: func(id tenant.ID, status int) {
			if release := manager.Running(id); release != "" {
				answers.Count(id.Service, release, status)
			}
		},
		Log: log,
	})
	source, err := newCerts(cfg, private, known, log)
	if err != nil {
		return end(err)
	}
	warnOfCerts(cfg, o.domains, source, p.now(), log)
	warnOfNothing(cfg, o.httpsGiven, log)
	reloads := &reloader{
		signals: hangups, asked: make(chan chan error), old: cfg, adopt: powers.adopt, events: events, log: log,
		look: func(cfg *config.Config) {
			warnOfServices(cfg, lookedAt(ctx, cfg, host, sandbox, log), log)
			warnOfCerts(cfg, o.domains, source, p.now(), log)
			warnOfNothing(cfg, o.httpsGiven, log)
		},
		set: func(cfg *config.Config) {
			setMetrics(counted, cfg)
			manager.SetConfig(cfg)
		},
	}
	manage = api.New(api.Options{
		Instances: manager,
		Operator:  manager,
		Router:    manager,
		Domains:   manager,
		Keeper:    manager,
		Limiter:   manager,
		Uses:      manager,
		Pauser:    manager,
		Secrets:   manager,
		Backups:   manager,
		Tokens:    tokens,
		Events:    events,
		Group:     admins,
		Rollouts:  rollouts,
		Logs:      journalLogs{journal.New(journalScope(host.User))},
		Doctor: func(ctx context.Context) ([]wire.Check, error) {
			list, err := allChecks(ctx, host, powers.checks, sandbox)
			if check, ok := checkCerts(manager.Config(), o.domains, source, p.now()); ok && err == nil {
				list = append(list, check)
			}
			if check, ok := checkServiceHosts(manager.Config(), o.domains[0], manager.List()); ok && err == nil {
				list = append(list, check)
			}
			bounded, cancel := context.WithTimeout(ctx, listTimeout)
			defer cancel()
			if loaded, lerr := powers.controller.List(bounded); err == nil && lerr == nil {
				list = append(list, checkOrphans(manager.Config(), manager.List(), loaded)...)
			}
			if check, ok := checkRoom(roomAt, manager.Config().Settings.DataDir, private); ok && err == nil {
				list = append(list, check)
			}
			return wireChecks(list), err
		},
		Reload:     reloads.Reload,
		ClientAddr: func(r *http.Request) netip.Addr { return proxy.ClientAddr(r, trusted) },

		URL:      func(id tenant.ID) string { return origin.behind(manager.Config().Settings.Public).url(id) },
		Services: services(manager),
		Version:  version(),
		Metrics:  counted.Handler(),
		Log:      log,
	})
	counted.SetStreams(manage.Streams)
	group.Go(func() error { return journal.NewEvents(log, p.logsToJournal()).Run(below, events) })
	dash = newDashboard(manage, manager, tree, events, trusted, log)
	group.Go(func() error { return memory.Run(below) })
	group.Go(func() error { return powers.controller.Run(below) })
	group.Go(func() error { return manager.Run(below) })
	group.Go(func() error { return front.Run(below) })
	group.Go(func() error { return access.Run(below) })
	group.Go(func() error { return tokens.Run(below) })
	group.Go(func() error { return dash.Run(below) })

	select {
	case <-manager.Ready():
	case <-ctx.Done():
		stopBelow()
		return group.Wait()
	}
	group.Go(func() error { return rollouts.Run(below) })
	group.Go(func() error {
		saveMemory(manager.Len())
		return nil
	})
	var handler http.Handler = front
	var told proxy.HTTPS
	if cfg.Settings.ProxyProtocol {
		for _, list := range [][]net.Listener{listeners, secure} {
			for i, l := range list {
				list[i] = behindProxies(l, trusted)
			}
		}
	}
	if source != nil {
		told = https(cfg, origin.port, trusted)
		handler = source.HTTP(told.Handler(front))
		group.Go(func() error { return source.Run(below) })
		for _, l := range secure {
			listeners = append(listeners, tls.NewListener(socket.Listener{Listener: l}, source.Config()))
		}
	}
	clients, operators := proxy.NewServer(handler, front, log), api.NewServer(manage)
	if cfg.Settings.FastPath {
		clients.Fast(told)
	}
	operators.Handler = onListener(settings, manage, dash)
	for _, l := range listeners {
		group.Go(func() error { return clients.Serve(l) })
	}
	for _, l := range unserved {
		group.Go(func() error { return refuse(ctx, l) })
	}
	group.Go(func() error { return reloads.run(ctx) })
	for _, l := range apiListeners {
		group.Go(func() error { return serveAPI(operators, l) })
	}
	if metricsListener != nil {
		group.Go(func() error { return serveMetrics(below, metricsListener, counted.Handler(), log) })
	}
	group.Go(func() error { return watchdog(below, manager, log) })
	group.Go(func() error {
		<-ctx.Done()
		_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
		events.Publish(event.Event{Kind: event.Stopping})
		manage.EndStreams()
		drain(log, clients.Drain, operators.Shutdown)
		clients.Close()
		operators.Close()
		stopBelow()
		return nil
	})
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	events.Publish(event.Event{Kind: event.Started, Fields: []slog.Attr{slog.String("version", version().Version)}})
	fmt.Fprintf(p.out, "serving %s with %s\n", origin.behind(cfg.Settings.Public).url(tenant.ID{Service: "SERVICE", Name: "INSTANCE"}), cfg.Path)
	return group.Wait()
}

// serveAPI serves until the server is shut down.
func serveAPI(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	}
	return nil
}

// drain lets requests in flight end, for a while.
func drain(log *slog.Logger, servers ...func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	for _, end := range servers {
		if err := end(ctx); err != nil {
			log.Warn("requests cut off at shutdown", "err", err)
		}
	}
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}
