package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"tenement.dev/dbusctl"
	"tenement.dev/internal/keeper"
	"tenement.dev/units"
)

// trouble is the real manager with a start that goes wrong.
type trouble struct {
	*dbusctl.Client
	starts int
	// before says how the n-th start fails, nil if it does not.
	before func(n int) error
}

func (m *trouble) StartTransient(ctx context.Context, main units.Unit, aux ...units.Unit) error {
	m.starts++
	if err := m.before(m.starts); err != nil {
		return err
	}
	return m.Client.StartTransient(ctx, main, aux...)
}

// What goes wrong once at the start of a daemon is not taken for what the machine
// cannot do.
func TestProbeInTrouble(t *testing.T) {
	r := newRig(t, nil)
	if !r.host.Namespaces {
		t.Fatal("this machine has no namespaces")
	}
	base := units.Host{User: r.host.User, RuntimeDir: r.host.RuntimeDir, DataRoot: r.host.DataRoot, InitPath: r.host.InitPath, NotifySocket: r.host.NotifySocket}
	want := r.host
	want.Runsc, want.Sandbox = "", false // that is not Probe's
	busy := fmt.Errorf("start: %w", units.ErrExists)
	lost := fmt.Errorf("start: %w", dbusctl.ErrDisconnected)

	for name, once := range map[string]error{"busy": busy, "lost": lost, "failed": &dbusctl.JobError{Op: "start", Result: "failed"}} {
		for start := range 2 { // of the two kinds of probe
			m := &trouble{Client: r.systemd, before: func(n int) error {
				if n == start+1 {
					return once
				}
				return nil
			}}
			host, _, err := keeper.Probe(t.Context(), m, base)
			if err != nil || fmt.Sprint(host) != fmt.Sprint(want) {
				t.Errorf("%s once, at start %d: got %+v, %v, want %+v", name, start+1, host, err, want)
			}
		}
	}

	m := &trouble{Client: r.systemd, before: func(int) error { return busy }}
	if _, _, err := keeper.Probe(t.Context(), m, base); !errors.Is(err, units.ErrExists) {
		t.Errorf("busy for long: got %v, want %v", err, units.ErrExists)
	}
	scope := dbusctl.System
	if base.User {
		scope = dbusctl.User
	}
	client, err := dbusctl.Dial(t.Context(), dbusctl.Options{Scope: scope, Prefix: units.Prefix, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = client.Run(t.Context()) })
	m = &trouble{Client: client, before: func(int) error { client.Close(); return nil }}
	if _, _, err := keeper.Probe(t.Context(), m, base); !errors.Is(err, dbusctl.ErrDisconnected) {
		t.Errorf("connection lost: got %v, want %v", err, dbusctl.ErrDisconnected)
	}
	wg.Wait()

	// A manager that is there and says no is an answer.
	m = &trouble{Client: r.systemd, before: func(int) error { return &dbusctl.JobError{Op: "start", Result: "failed"} }}
	host, checks, err := keeper.Probe(t.Context(), m, base)
	if err != nil || host.Namespaces || len(checks) == 0 {
		t.Errorf("refused: got %+v, %v, want no namespaces", host, err)
	}
	// What nobody could look at is not taken for a fence.
	m = &trouble{Client: r.systemd, before: func(n int) error {
		if n > 1 {
			return &dbusctl.JobError{Op: "start", Result: "failed"}
		}
		return nil
	}}
	host, checks, err = keeper.Probe(t.Context(), m, base)
	if err != nil || !host.Namespaces || host.BindFence || host.ConnectFence {
		t.Errorf("refused in the machine's network: got %+v, %v, want no fence", host, err)
	}
	for _, c := range checks {
		if strings.Contains(c.Name, "port of their own") && (c.OK || !strings.Contains(c.Detail, "failed") || c.Hint == "") {
			t.Errorf("got %+v, want a no with its cause", c)
		}
	}
}

// What is found out of gVisor is remembered, what cannot be is not, and trouble with the
// manager says nothing of it.
func TestLook(t *testing.T) {
	r := newRig(t, nil)
	base := r.host
	base.Runsc, base.Sandbox = "", false
	m := &trouble{Client: r.systemd, before: func(n int) error {
		switch n {
		case 1:
			return fmt.Errorf("start: %w", units.ErrExists)
		case 2:
			return &dbusctl.JobError{Op: "start", Result: "failed"}
		}
		return nil
	}}
	s := keeper.NewSandbox(m, base)
	if _, _, err := s.Look(t.Context()); !errors.Is(err, units.ErrExists) {
		t.Errorf("busy: got %v, want %v", err, units.ErrExists)
	}
	if host, check, err := s.Look(t.Context()); err != nil || host.Sandbox || check.OK || check.Hint == "" {
		t.Errorf("refused: got %+v, %+v, %v, want no sandbox and a hint", host, check, err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if host, check, err := s.Look(t.Context()); err != nil || !host.Sandbox || host.Runsc != "/usr/bin/runsc" || !check.OK {
				t.Errorf("got %+v, %+v, %v, want the sandbox", host, check, err)
			}
		})
	}
	wg.Wait()
	if m.starts != 3 {
		t.Errorf("got %d probes, want 3: it works is remembered", m.starts)
	}
	base.PrivateNetwork = false
	if host, check, err := keeper.NewSandbox(m, base).Look(t.Context()); err != nil || host.Sandbox || check.OK || m.starts != 3 {
		t.Errorf("without a private network: got %+v, %+v, %v, want no sandbox and no probe", host, check, err)
	}
}

// Two probes at the same time do not get in each other's way by name.
func TestProbeNames(t *testing.T) {
	seen := map[string]bool{}
	for pid := range 3 {
		for n := range 3 {
			name := units.ProbeName(pid, n)
			if _, ours := units.ParseName(name); ours || seen[name] || !strings.HasPrefix(name, units.Prefix) {
				t.Errorf("got %s, want a name of its own that is no instance's", name)
			}
			seen[name] = true
		}
	}
}
