package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tenement.dev/dbusctl"
	"tenement.dev/internal/keeper"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// systemConfig is where packages have the configuration.
const systemConfig = "/etc/tenement/tenement.toml"

// keeperOptions are the flags of `ten keeper`.
type keeperOptions struct {
	config, proxy string
	idle          time.Duration
	probe         bool
}

func newKeeperCommand(p *program) *cobra.Command {
	var o keeperOptions
	cmd := &cobra.Command{
		Use:   "keeper",
		Short: "Do what needs root for a daemon without privilege",
		Long: `Do what needs root for a daemon that runs as a user without privilege, with ` + "`ten serve --keeper`" + `.

systemd starts it (tenement-keeper.socket) when that daemon asks, and it ends when
nobody has asked for a while. It knows a few verbs: load, unload, stop, limit, measure and wipe an
instance. Each comes with the name of a service and of an instance, and what they stand for
is in tenement.toml, which it reads itself. That file and the programs that are named in it
must be root's and for nobody else to write, and so must the directories above them.

Where data_dir is not below /var/lib/tenement, drop-ins of tenement-keeper.service and
tenement-probe.service have to name it in ReadWritePaths=.`,
		Example: "  systemctl status tenement-keeper.socket tenement-keeper.service",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return p.keeper(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.config, "config", "c", systemConfig, "configuration `file`")
	flags.StringVar(&o.proxy, "user", "tenement", "the `account` that the daemon runs as, which may ask, as root may")
	flags.DurationVar(&o.idle, "idle", time.Minute, "end when nobody has asked for so `long`")
	flags.BoolVar(&o.probe, "probe", false, "only look at what this machine can do, and note that for the keeper")
	return cmd
}

// keeper serves the daemon until ctx ends or nobody asks.
func (p *program) keeper(ctx context.Context, o keeperOptions) error {
	log := slog.New(slog.NewTextHandler(p.err, nil))
	if p.euid != 0 {
		return &tenant.Error{Code: tenant.CodeInvalid, Op: "keep", Msg: "the keeper runs as root", Hint: "systemd starts it: `systemctl start tenement-keeper.socket`"}
	}
	if o.probe {
		return p.keep(ctx, o, nil, log)
	}
	l, err := keeperSocket()
	if err != nil {
		return err
	}
	defer l.Close()
	if err = p.keep(ctx, o, l, log); err != nil {
		keeper.Explain(ctx, l, err)
	}
	return err
}

// keep serves who connects to l, or looks at the machine.
func (p *program) keep(ctx context.Context, o keeperOptions, l *net.UnixListener, log *slog.Logger) error {
	init, err := initPath()
	if err != nil {
		return err
	}
	host := units.Host{RuntimeDir: filepath.Join(p.run, "tenement"), InitPath: init}
	config, err := filepath.Abs(o.config)
	if err != nil {
		return err
	}
	if o.probe {
		return withSystemd(ctx, log, func(ctx context.Context, systemd *dbusctl.Client) error {
			return keeper.ProbeMachine(ctx, systemd, host, config)
		})
	}
	account, err := tenant.LookupAccount(o.proxy)
	if err != nil {
		return &tenant.Error{Code: tenant.CodeInvalid, Op: "keep", Err: err, Msg: fmt.Sprintf("there is no account %q", o.proxy), Hint: "--user names that of the daemon"}
	}
	return withSystemd(ctx, log, func(ctx context.Context, systemd *dbusctl.Client) error {
		server := keeper.NewServer(keeper.ServerOptions{
			Units: systemd, Hints: systemd.Events(), Features: systemd, Host: host,
			Config: config, StateDir: p.stateDir(), Proxy: account, Idle: o.idle, Log: log,
		})
		_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
		err := server.Serve(ctx, l)
		_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
		return err
	})
}

// withSystemd does something with a connection to the system's manager. Its end is not that
// of the connection: what is being done may end well.
func withSystemd(ctx context.Context, log *slog.Logger, do func(context.Context, *dbusctl.Client) error) error {
	systemd, err := dialSystemd(ctx, false, log)
	if err != nil {
		return err
	}
	defer systemd.Close()
	below, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group errgroup.Group
	group.Go(func() error { return systemd.Run(below) })
	err = do(ctx, systemd)
	stop()
	return errors.Join(err, group.Wait())
}

// keeperSocket is what systemd listens on for the keeper (sd_listen_fds(3)).
func keeperSocket() (*net.UnixListener, error) {
	passed, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("take over the socket from systemd: %w", err)
	}
	if len(passed) == 1 {
		if l, ok := passed[0].(*net.UnixListener); ok {
			l.SetUnlinkOnClose(false) // it is systemd's
			return l, nil
		}
	}
	for _, l := range passed {
		if l != nil {
			l.Close()
		}
	}
	return nil, &tenant.Error{
		Code: tenant.CodeInvalid, Op: "keep",
		Msg:  "there is no socket to answer at: the keeper does not make one",
		Hint: "systemd starts it: `systemctl start tenement-keeper.socket`",
	}
}
