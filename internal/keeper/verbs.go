package keeper

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

// works is what a Server works with while configuration and machine are what they are.
type works struct {
	config atomic.Pointer[config.Config]
	// basis identifies what the others were made of.
	basis   [sha256.Size]byte
	local   *Local
	sandbox *Sandbox
	checks  []Check
	end     func() // ends what runs, and waits for it
}

// do does what is asked, which has been checked. What may not be asked for is a refusal.
func (s *Server) do(ctx context.Context, r request) (reply, error) {
	if err := checkTrusted(s.o.Host.InitPath); err != nil {
		return reply{}, &refusal{untrusted("load", r.id(), "the program", s.o.Host.InitPath, err)}
	}
	if r.Verb == verbLook {
		return s.look(ctx, r.Sum)
	}
	w, release, err := s.open(ctx)
	if err != nil {
		return reply{}, err
	}
	defer release()
	id := r.id()
	switch r.Verb {
	case verbSandbox:
		host, check, err := w.sandbox.Look(ctx)
		host.RealDataRoot, host.SocketUser = w.local.host.RealDataRoot, w.local.host.SocketUser
		return reply{Host: &host, Checks: []Check{check}}, err
	case verbLoad:
		spec, err := w.spec(r)
		if err == nil {
			err = w.local.Load(ctx, spec)
		}
		return reply{}, err
	case verbUnload:
		return reply{}, w.local.Unload(ctx, id)
	case verbStop:
		return reply{}, w.local.Stop(ctx, id)
	case verbWipe:
		return reply{}, w.local.Wipe(ctx, id, !r.Keep)
	case verbLimit:
		return reply{}, w.local.SetLimits(ctx, id, r.Limits)
	case verbMeasure:
		bytes, enforced, err := w.local.Measure(ctx, id)
		return reply{Bytes: bytes, Enforced: enforced}, err
	case verbSecret:
		return reply{}, w.local.SetSecret(ctx, id, r.Secret, r.Value)
	case verbForget:
		var names []string
		if r.Secret != "" {
			names = []string{r.Secret}
		}
		return reply{}, w.local.RemoveSecrets(ctx, id, names...)
	case verbFlush:
		w.local.Flush(ctx, id)
		return reply{}, nil
	case verbSnapshot:
		size, err := w.local.Snapshot(ctx, id)
		return reply{Size: &size}, err
	case verbReplace:
		kept, err := w.local.Replace(ctx, id, r.Keep)
		return reply{Kept: kept}, err
	case verbDiscard:
		return reply{}, w.local.Discard(ctx, id)
	case verbGrant:
		return reply{}, s.notes.grant(id)
	case verbWithdraw:
		return reply{}, s.notes.withdraw(id)
	default: // verbTend: check knows no other
		if !id.IsZero() {
			w.local.bound(id)
			return reply{}, nil
		}
		return reply{}, w.local.tend()
	}
}

// check reports what is wrong with a request whoever sends it: a verb that there is not, a
// name that is no label, a number out of range, something that its verb does not take.
func (r request) check() error {
	invalid := func(format string, a ...any) error {
		return &tenant.Error{Code: tenant.CodeInvalid, Op: "ask the keeper", Msg: fmt.Sprintf(format, a...)}
	}
	taken := request{Verb: r.Verb, Service: r.Service, Name: r.Name} // what the verb takes
	switch r.Verb {
	case verbLook:
		taken = request{Verb: r.Verb, Sum: r.Sum}
	case verbSandbox:
		taken = request{Verb: r.Verb}
	case verbLoad:
		taken.Release, taken.Port, taken.Limits, taken.Secrets = r.Release, r.Port, r.Limits, r.Secrets
	case verbLimit:
		taken.Limits = r.Limits
	case verbSecret:
		taken.Secret, taken.Value = r.Secret, r.Value
	case verbForget:
		taken.Secret = r.Secret
	case verbUnpack:
		taken.Unpacking = r.Unpacking
		if r.Unpacking == nil {
			return invalid("how to unpack it is not said")
		}
	case verbReplace:
		taken.Keep = r.Keep
	case verbUnload, verbStop, verbWipe, verbMeasure, verbTend, verbFlush, verbSnapshot, verbPack, verbDiscard, verbGrant, verbWithdraw:
	default:
		return invalid("there is no verb %q", short(string(r.Verb)))
	}
	if !reflect.DeepEqual(r, taken) {
		return invalid("%s takes less than that", r.Verb)
	}
	ofAll := r.Verb == verbTend || r.Verb == verbDiscard
	about := r.Verb != verbLook && r.Verb != verbSandbox && (!ofAll || !r.id().IsZero())
	if about {
		if err := tenant.CheckLabel("service", r.Service); err != nil {
			return err
		}
		ofService := r.Name == "" && (r.Verb == verbSecret || r.Verb == verbForget)
		if err := tenant.CheckLabel("instance", r.Name); err != nil && !ofService {
			return err
		}
	}
	if r.Release != "" {
		if err := tenant.CheckRelease(r.Release); err != nil {
			return err
		}
	}
	if len(r.Secrets) > 2*tenant.MaxSecrets {
		return invalid("%d secrets are too many", len(r.Secrets))
	}
	for _, ref := range r.Secrets {
		if err := tenant.CheckSecretName(ref.Name); err != nil {
			return err
		}
	}
	if r.Secret != "" || r.Verb == verbSecret {
		if err := tenant.CheckSecretName(r.Secret); err != nil {
			return err
		}
	}
	return r.Limits.Check()
}

// spec makes an instance's spec of the configuration. Of what was asked for only the name,
// the release, the port, the limits and the names of secrets are in it.
func (w *works) spec(r request) (tenant.Spec, error) {
	id := r.id()
	cfg := w.config.Load()
	service, err := cfg.Service("load", id)
	if err != nil {
		return tenant.Spec{}, &refusal{err}
	}
	refuse := func(code tenant.Code, msg, hint string) (tenant.Spec, error) {
		return tenant.Spec{}, &refusal{&tenant.Error{Code: code, Op: "load", ID: id, Msg: msg, Hint: hint}}
	}
	settings := cfg.Settings
	switch {
	case service.Release == "" && r.Release != "":
		return refuse(tenant.CodeInvalid, "service "+id.Service+" has no releases", "")
	case service.Listen != tenant.ListenPort && r.Port != 0:
		return refuse(tenant.CodeInvalid, fmt.Sprintf("service %s listens on no port", id.Service), "")
	case service.Listen == tenant.ListenPort && service.Network == tenant.NetworkHost && (r.Port < settings.PortMin || r.Port > settings.PortMax):
		return refuse(tenant.CodeInvalid, fmt.Sprintf("port %d is not in port_range", r.Port), fmt.Sprintf("that is %d to %d", settings.PortMin, settings.PortMax))
	}
	if err := checkOwnUser("load", id, service); err != nil {
		return tenant.Spec{}, err
	}
	spec, err := cfg.Spec(id, config.Placement{Port: r.Port, SocketDir: w.local.host.SocketDir(id), Release: r.Release, Limits: r.Limits, Secrets: r.Secrets})
	if err != nil {
		return tenant.Spec{}, err
	}
	if err := checkTrusted(spec.Argv[0]); err != nil {
		return tenant.Spec{}, &refusal{untrusted("load", id, "the program", spec.Argv[0], err)}
	}
	return spec, nil
}

// look reads tenement.toml anew, if it is what the other side has read, and tells of the
// machine.
func (s *Server) look(ctx context.Context, sum string) (reply, error) {
	cfg, text, err := s.readConfig()
	if err != nil {
		return reply{}, err
	}
	if cfg.Sum != sum {
		return reply{}, &tenant.Error{
			Code: tenant.CodeConflict, Op: "read configuration",
			Msg:  fmt.Sprintf("%s is not, or no longer, what the daemon has read", s.o.Config),
			Hint: "the keeper reads " + s.o.Config + ", and the daemon has to; was it being written? `ten reload` reads it again",
		}
	}
	if err := s.adopt(ctx, cfg, text); err != nil {
		return reply{}, err
	}
	w, release, err := s.open(ctx)
	if err != nil {
		return reply{}, err
	}
	defer release()
	host := w.local.host
	return reply{Host: &host, Checks: w.checks}, nil
}

// adopt makes a configuration the one that holds, for later keepers too.
func (s *Server) adopt(ctx context.Context, cfg *config.Config, text []byte) error {
	_, basis, err := s.basis(cfg)
	if err != nil {
		return err
	}
	if err := s.turns.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("wait for other calls: %w", err)
	}
	if s.works != nil && s.works.basis == basis { // others need not wait
		defer s.turns.Release(1)
		s.works.config.Store(cfg)
		return s.notes.save(noteConfig, text)
	}
	s.turns.Release(1)
	if err := s.turns.Acquire(ctx, maxCalls); err != nil {
		return fmt.Errorf("wait for other calls: %w", err)
	}
	defer s.turns.Release(maxCalls)
	if err := s.renew(cfg); err != nil {
		return err
	}
	return s.notes.save(noteConfig, text)
}

// readConfig reads tenement.toml, which root alone must be able to write.
func (s *Server) readConfig() (*config.Config, []byte, error) {
	text, err := readTrusted(s.o.Config)
	if err != nil {
		return nil, nil, &refusal{untrusted("read configuration", tenant.ID{}, "the configuration", s.o.Config, err)}
	}
	cfg, err := parseConfig(s.o.Config, text)
	return cfg, text, err
}

// parseConfig leaves files that the configuration names alone: the daemon has looked at
// them, and they are no reason to keep other services from running.
func parseConfig(path string, text []byte) (*config.Config, error) {
	cfg, err := config.ParseUnseen(path, text, filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return cfg, nil
}

// open gives what to work with, until release is called. A keeper that has just begun goes
// by the notes of the one before, or else by tenement.toml as it is.
func (s *Server) open(ctx context.Context) (w *works, release func(), err error) {
	fail := func(err error) (*works, func(), error) { return nil, nil, fmt.Errorf("wait for other calls: %w", err) }
	if err := s.turns.Acquire(ctx, 1); err != nil {
		return fail(err)
	}
	if s.works != nil {
		return s.works, func() { s.turns.Release(1) }, nil
	}
	s.turns.Release(1)
	if err := s.turns.Acquire(ctx, maxCalls); err != nil {
		return fail(err)
	}
	if s.works == nil { // else somebody was quicker
		err = s.begin()
	}
	s.turns.Release(maxCalls - 1) // and keep one
	if err != nil {
		s.turns.Release(1)
		return nil, nil, err
	}
	return s.works, func() { s.turns.Release(1) }, nil
}

// begin makes the works for the first time. The caller has all turns.
func (s *Server) begin() error {
	text, err := s.notes.text(noteConfig)
	if err != nil {
		return err
	}
	if text == nil {
		cfg, _, err := s.readConfig()
		if err != nil {
			return err
		}
		return s.renew(cfg)
	}
	cfg, err := parseConfig(s.o.Config, text)
	if err != nil {
		return err
	}
	return s.renew(cfg)
}

// renew makes the works what configuration and machine are now. The caller has all turns.
func (s *Server) renew(cfg *config.Config) error {
	found, basis, err := s.basis(cfg)
	if err != nil {
		return err
	}
	host := found.Host
	if host.DataRoot != cfg.Settings.DataDir {
		return &tenant.Error{
			Code: tenant.CodeUnavailable, Op: "look at the machine",
			Msg:  fmt.Sprintf("data_dir is %s now, and the machine was looked at when it was %s", cfg.Settings.DataDir, host.DataRoot),
			Hint: "`systemctl restart tenement.service` looks again",
		}
	}
	if err := checkTrusted(host.DataRoot); err != nil {
		return &refusal{untrusted("open data directory", tenant.ID{}, "settings.data_dir", host.DataRoot, err)}
	}
	host.RuntimeDir, host.InitPath, host.User = s.o.Host.RuntimeDir, s.o.Host.InitPath, false
	sandbox := NewSandbox(s.o.Features, host)
	s.notes.restore(sandbox)
	if s.works != nil {
		s.works.end()
		s.works = nil
	}
	local, err := NewLocal(Options{
		Units: s.o.Units, Hints: s.o.Hints, Host: host, Sandbox: sandbox, StateDir: s.o.StateDir,
		Closed: ClosedPorts(cfg.Settings), Proxy: &s.o.Proxy, Log: s.o.Log,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = local.Run(ctx) })
	running.Go(func() {
		for { // the daemon has hints of its own
			select {
			case <-local.Events():
			case <-ctx.Done():
				return
			}
		}
	})
	s.works = &works{basis: basis, local: local, sandbox: sandbox, checks: found.Checks, end: func() {
		cancel()
		running.Wait()
	}}
	s.works.config.Store(cfg)
	return nil
}

// basis gives what a Local is made of, and identifies it.
func (s *Server) basis(cfg *config.Config) (found machine, sum [sha256.Size]byte, err error) {
	found, text, err := s.notes.machine()
	if err != nil {
		return machine{}, sum, err
	}
	all, err := json.Marshal([]any{text, ClosedPorts(cfg.Settings), cfg.Settings.DataDir})
	return found, sha256.Sum256(all), err
}

// tend puts the fence back where somebody has removed it while no keeper ran.
func (l *Local) tend() error {
	if l.fence == nil {
		return nil
	}
	restored, err := l.fence.restore()
	if restored && err == nil {
		l.log.Warn("somebody has removed the fence; it is back", "table", l.fence.table)
	}
	return err
}

// ClosedPorts are the TCP ports for operators, and not for instances.
func ClosedPorts(s config.Settings) (ports []int) {
	for _, text := range []string{s.APIListen, s.MetricsListen} {
		if addr, err := netip.ParseAddrPort(text); err == nil {
			ports = append(ports, int(addr.Port()))
		}
	}
	return ports
}
