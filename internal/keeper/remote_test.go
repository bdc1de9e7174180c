package keeper_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tenement.dev/dbusctl"
	"tenement.dev/internal/config"
	"tenement.dev/internal/ingress"
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
port_range = "22000-23999"
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

// A sandboxed instance's doorbell is the daemon's, too, and what is known of gVisor outlives
// the keeper that found it.
func TestRemoteSandbox(t *testing.T) {
	r := newRemoteRig(t)
	id := tenant.ID{Service: "conform", Name: "boxed"}
	spec := r.uses(t, configText(webServer, "15")+"isolation = \"sandbox\"\n", id)
	proxy, err := tenant.LookupAccount("tenement")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.remote.Load(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(r.host.Doorbell(id))
		if err != nil {
			t.Fatal(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != proxy.UID || info.Mode().Perm() != 0o600 {
			t.Errorf("the doorbell is of %+v with mode %v, want it of uid %d alone", st, info.Mode(), proxy.UID)
		}
		if err := r.remote.Unload(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile("/run/tenement/keeper/sandbox.json"); err != nil || string(text) != `"/usr/bin/runsc"` {
			t.Errorf("noted of gVisor: %q, %v", text, err)
		}
		systemctl(t, "stop", "tenement-keeper.service")
	}
}

// A keeper ends when nobody asks. Instances, their fence and their accounts stay, and the
// next keeper knows what this one did.
func TestKeeperComesAndGoes(t *testing.T) {
	r := newRemoteRig(t)
	id := tenant.ID{Service: "conform", Name: "a"}
	dropIn := "/etc/systemd/system/tenement-keeper.service.d"
	err := errors.Join(os.MkdirAll(dropIn, 0o755),
		os.WriteFile(dropIn+"/idle.conf", []byte("[Service]\nExecStart=\nExecStart=/usr/bin/ten keeper --idle 200ms\n"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	systemctl(t, "daemon-reload")
	systemctl(t, "stop", "tenement-keeper.service")
	go func() {
		for { // as a daemon would
			select {
			case <-r.remote.Events():
			case <-t.Context().Done():
				return
			}
		}
	}()
	spec := r.uses(t, configText(webServer, "15"), id)
	if err := r.remote.Load(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	asleep := func() {
		t.Helper()
		deadline := time.Now().Add(quick)
		for exec.Command("systemctl", "is-active", "tenement-keeper.service").Run() == nil {
			if time.Now().After(deadline) {
				t.Fatal("the keeper does not end")
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	asleep()
	if _, err := r.doorbell(id).Do(t.Context(), ingress.Ready); err != nil {
		t.Fatalf("wake without a keeper: %v", err)
	}
	fence := func() string {
		out, _ := exec.Command("nft", "list", "table", "inet", "tenement").CombinedOutput()
		return string(out)
	}
	if got := fence(); !strings.Contains(got, strconv.Itoa(spec.Port)) {
		t.Errorf("the fence without a keeper: %s", got)
	}
	// Who starts is bounded: the hint has woken a keeper for it.
	limit := filepath.Join(r.cgroup(t, id), "cgroup.max.descendants")
	deadline := time.Now().Add(quick)
	for text := ""; text != "64\n"; {
		b, err := os.ReadFile(limit)
		if text = string(b); err != nil || time.Now().After(deadline) {
			t.Fatalf("cgroup.max.descendants: got %q, %v, want 64", text, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	// What is in tenement.toml counts when the daemon has read it, and not before.
	if err := os.WriteFile(configPath, []byte("this is no TOML"), 0o640); err != nil {
		t.Fatal(err)
	}
	asleep()
	if err := r.remote.Load(t.Context(), spec); err != nil {
		t.Errorf("load with a faulty file that nobody has adopted: %v", err)
	}
	asleep()
	if out, err := exec.Command("nft", "flush", "ruleset").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, _, err := r.remote.Measure(t.Context(), id); err != nil {
		t.Error(err)
	}
	deadline = time.Now().Add(quick)
	for !strings.Contains(fence(), strconv.Itoa(spec.Port)) {
		if time.Now().After(deadline) {
			t.Fatal("the fence is not back")
		}
		time.Sleep(10 * time.Millisecond)
	}
	asleep()
	if err := r.remote.Unload(t.Context(), id); err != nil {
		t.Error(err)
	}
	asleep()
	if got := fence(); strings.Contains(got, "table") && !strings.Contains(got, "No such file") {
		t.Errorf("the fence is left behind: %s", got)
	}
	if left := r.left(t, id); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if err := r.remote.Wipe(t.Context(), id, true); err != nil {
		t.Error(err)
	}
}
