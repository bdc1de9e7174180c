package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tenement.dev/internal/event"
	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
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

// serve runs the daemon until ctx ends.
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
	if err := o.check(); err != nil {
		return err
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
	admins := p.adminGroup(!user)
	sockets, err := listen(o, cfg.Settings, runtime, admins)
	defer func() { sockets.close() }()
	if err != nil {
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
	warnOfServices(cfg, lookedAt(ctx, cfg, powers.host, powers.sandbox, log), log)
	store, err := registry.Open(ctx, filepath.Join(private, registryName))
	if err != nil {
		return end(err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := sockets.addOperators(cfg.Settings); err != nil { // with the fence around them
		return end(err)
	}
	tree, err := treeOf(ctx, systemd, log)
	if err != nil {
		return end(err)
	}
	d := &parts{
		program: p, serveOptions: o, began: cfg, private: private, runtime: runtime, admins: admins,
		origin: originOf(o, sockets.plain, sockets.secure), powers: powers, store: store, tree: tree, log: log,
	}
	if err := d.assemble(ctx, hangups); err != nil {
		return end(err)
	}
	d.run(below, group)

	select {
	case <-d.manager.Ready():
	case <-ctx.Done():
		stopBelow()
		return group.Wait()
	}
	d.runReady(below, group)
	clients, operators := d.servers(&sockets)
	for _, l := range sockets.plain {
		group.Go(func() error { return clients.Serve(l) })
	}
	for _, l := range sockets.unserved {
		group.Go(func() error { return refuse(ctx, l) })
	}
	group.Go(func() error { return d.reloads.run(ctx) })
	for _, l := range sockets.api {
		group.Go(func() error { return serveAPI(operators, l) })
	}
	if sockets.metrics != nil {
		group.Go(func() error { return serveMetrics(below, sockets.metrics, d.counted.Handler(), log) })
	}
	group.Go(func() error {
		<-ctx.Done()
		_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
		d.events.Publish(event.Event{Kind: event.Stopping})
		d.manage.EndStreams()
		drain(log, clients.Drain, operators.Shutdown)
		clients.Close()
		operators.Close()
		stopBelow()
		return nil
	})
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	d.events.Publish(event.Event{Kind: event.Started, Fields: []slog.Attr{slog.String("version", version().Version)}})
	fmt.Fprintf(p.out, "serving %s with %s\n", d.url(tenant.ID{Service: "SERVICE", Name: "INSTANCE"}), cfg.Path)
	return group.Wait()
}

// check refuses flags that make no sense.
func (o serveOptions) check() error {
	for flag, port := range map[string]int{"--port": o.port, "--https-port": o.httpsPort} {
		if port < 1 || port > 65535 {
			return &tenant.Error{Code: tenant.CodeInvalid, Op: "serve", Msg: fmt.Sprintf("%d is not a port", port), Hint: flag + " takes 1 to 65535"}
		}
	}
	return nil
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
