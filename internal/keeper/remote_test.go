package keeper_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"testing"

	"tenement.dev/dbusctl"
	"tenement.dev/internal/config"
	"tenement.dev/internal/keeper"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
	"tenement.dev/units"
)

// systemctl must succeed.
func systemctl(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("systemctl", args...).CombinedOutput(); err != nil {
		t.Fatalf("systemctl %v: %v\n%s", args, err, out)
	}
}

// remoteRig is a Remote, and the keeper of the package as units of systemd.
type remoteRig struct {
	*rig
	remote *keeper.Remote
}

const configPath = "/etc/tenement/tenement.toml"

// configText has the service of the conformance suite with the given command.
func configText(command string, timeout string) string {
	return fmt.Sprintf(`[settings]
data_dir = "/var/lib/tenement/data"
port_range = "42000-43999"
[service.conform]
command = %q
workdir = "/usr"
startup_timeout = %s
stop_grace = 3
`, command, timeout)
}

const webServer = "/usr/bin/python3 -m http.server {port} --bind 127.0.0.1"

func writeConfig(t *testing.T, text string) *config.Config {
	t.Helper()
	if err := os.WriteFile(configPath, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(configPath)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// newRemoteRig starts the package's keeper, and makes a Remote that talks to it.
func newRemoteRig(t *testing.T) *remoteRig {
	t.Helper()
	harness.Install(t)
	cfg := writeConfig(t, configText(webServer, "15"))
	systemctl(t, "start", "tenement-keeper.socket", "tenement-probe.service")
	allControllers(t)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	client, err := dbusctl.Dial(t.Context(), dbusctl.Options{Scope: dbusctl.System, Prefix: units.Prefix, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	remote := keeper.NewRemote(keeper.RemoteOptions{Path: "/run/tenement/keeper.sock", Units: client, Hints: client.Events(), Log: log})
	host, checks, err := remote.Look(t.Context(), cfg.Sum)
	if err != nil {
		t.Fatal(err)
	}
	remote.Settle(host)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { client.Run(ctx) })
	wg.Go(func() { remote.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return &remoteRig{&rig{systemd: client, host: host, checks: checks}, remote}
}

// allControllers has the keeper believe that the machine has them: systemd takes limits all
// the same where it does not.
func allControllers(t *testing.T) {
	t.Helper()
	const note = "/run/tenement/keeper/machine.json"
	text, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	host, ok := m["Host"].(map[string]any)
	if !ok {
		t.Fatalf("the note of the machine is %s", text)
	}
	host["Controllers"], host["IOWeight"] = []string{"cpu", "memory", "pids"}, true
	if text, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(note, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// uses has the keeper adopt a configuration, and gives its spec of an instance.
func (r *remoteRig) uses(t *testing.T, text string, id tenant.ID) tenant.Spec {
	t.Helper()
	cfg := writeConfig(t, text)
	if _, _, err := r.remote.Look(t.Context(), cfg.Sum); err != nil {
		t.Fatal(err)
	}
	nextPort++
	spec, err := cfg.Spec(id, config.Placement{Port: nextPort, SocketDir: r.host.SocketDir(id)})
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func (r *remoteRig) bench(t *testing.T) lifecycletest.Bench {
	b := r.rig.bench(t, tenant.IsolationNamespace, tenant.NetworkHost)
	b.Controller = r.remote
	spec := func(command, timeout string) func(tenant.ID) tenant.Spec {
		return func(id tenant.ID) tenant.Spec { return r.uses(t, configText(command, timeout), id) }
	}
	b.Spec = spec(webServer, "15")
	b.Exits = spec("/bin/sh -c 'exit 3'", "15")
	b.Hangs = spec("/bin/sleep 1000", "0.3")
	return b
}

// A keeper in another process is as good as one in this.
func TestRemoteConforms(t *testing.T) {
	r := newRemoteRig(t)
	lifecycletest.Conform(t, func(t *testing.T) lifecycletest.Bench { return r.bench(t) })
}
