package units

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

var update = flag.Bool("update", false, "write the golden files anew")

// server is a machine that can do everything, laptop the same for a user's manager.
var (
	server = Host{
		RuntimeDir: "/run/tenement", DataRoot: "/var/lib/tenement/data", RealDataRoot: "/var/lib/tenement/data", InitPath: "/usr/lib/tenement/ten-init",
		PrivatePIDs: true, DelegateSubgroup: true, PrivateNetwork: true, Namespaces: true, Runsc: "/usr/bin/runsc", Sandbox: true,
		BindFence: true, ConnectFence: true,
		Controllers: []string{"cpu", "io", "memory", "pids"}, IOWeight: true,
	}
	laptop = Host{
		User: true, RuntimeDir: "/run/user/1000/tenement", DataRoot: "/home/dev/notes/data", RealDataRoot: "/home/dev/notes/data", InitPath: "/home/dev/bin/ten-init",
		NotifySocket: "/run/user/1000/systemd/notify",
		PrivatePIDs:  true, DelegateSubgroup: true, PrivateNetwork: true, Namespaces: true, Runsc: "/home/dev/bin/runsc", Sandbox: true,
		BindFence:   true,
		Controllers: []string{"memory", "pids"},
	}
)

func spec(h Host) tenant.Spec {
	return tenant.Spec{
		ID:      tenant.ID{Service: "my-notes", Name: "alice"},
		Argv:    []string{"/usr/bin/python3", "app.py", "a b", "$HOME", "%i"},
		Env:     []string{"PATH=/usr/bin", "TEXT=a b \"c\""},
		WorkDir: "/srv/notes", DataDir: filepath.Join(h.DataRoot, "my-notes/alice"), DataRoot: h.DataRoot,
		Isolation: tenant.IsolationNamespace, Network: tenant.NetworkHost, Listen: tenant.ListenPort, Port: 30001,
		StartupTimeout: 10 * time.Second, StopGrace: 5 * time.Second,
	}
}

// text prints a unit for people: one property a line.
func text(units ...Unit) string {
	var b strings.Builder
	for _, u := range units {
		fmt.Fprintf(&b, "# %s\n", u.Name)
		for _, p := range u.Properties {
			v := p.Value
			if fields, ok := v.([][]byte); ok {
				var list []string
				for _, f := range fields {
					list = append(list, string(f))
				}
				v = list
			}
			value, err := json.Marshal(v)
			if err != nil {
				value = []byte(err.Error())
			}
			fmt.Fprintf(&b, "%s %T %s\n", p.Name, p.Value, value)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", strings.NewReplacer(" ", "-").Replace(name)+".golden")
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew):\n%s", path, got)
	}
}

func TestRender(t *testing.T) {
	for _, host := range []struct {
		name    string
		host    Host
		account string
	}{{"server", server, "ten-7"}, {"laptop", laptop, ""}} {
		for _, isolation := range []tenant.Isolation{tenant.IsolationProcess, tenant.IsolationNamespace, tenant.IsolationSandbox} {
			for _, network := range []tenant.Network{tenant.NetworkHost, tenant.NetworkPrivate} {
				for _, listen := range []tenant.Listen{tenant.ListenPort, tenant.ListenUnix, tenant.ListenFD} {
					name := fmt.Sprintf("%s %s %s %s", host.name, isolation, network, listen)
					t.Run(name, func(t *testing.T) {
						s := spec(host.host)
						if isolation == tenant.IsolationSandbox && (network == tenant.NetworkHost || listen == tenant.ListenFD) {
							return // no configuration leads there
						}
						s.Isolation, s.Network, s.Listen = isolation, network, listen
						if listen != tenant.ListenPort {
							s.Port, s.SocketPath = 0, filepath.Join(host.host.SocketDir(s.ID), "app.sock")
						}
						account := host.account
						if isolation == tenant.IsolationProcess {
							account = ""
						}
						socket, service, err := host.host.Render(s, account)
						if err != nil {
							t.Fatal(err)
						}
						golden(t, name, text(socket, service))
						if isolation == tenant.IsolationSandbox {
							golden(t, name+" bundle", string(host.host.Bundle(s))+"\n")
						}
					})
				}
			}
		}
	}
}

func TestRenderLimitsAndPaths(t *testing.T) {
	s := spec(server)
	s.Limits = tenant.Limits{
		tenant.LimitMemory: 64 << 20, tenant.LimitCPUQuota: 150, tenant.LimitCPUShares: 50, tenant.LimitIOWeight: 2000,
		tenant.LimitTasks: 100, tenant.LimitNoFile: 4096, tenant.LimitStorage: 1 << 30,
	}
	s.WorkDir = "/home/dev/notes"
	s.BindReadOnlyPaths = []string{"/home/dev/lib", "/srv/assets", "/tmp/x"}
	socket, service, err := server.Render(s, "ten-7")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "limits and paths", text(socket, service))
	probeID := tenant.ID{Service: "tenement", Name: "probe"}
	golden(t, "probe sandbox", text(server.ProbeUnit(server.ProbeSpec(probeID, tenant.IsolationSandbox), ProbeName(42, 2), "ten-1000000", "/run/tenement/probe.json")))
	plain := server.ProbeSpec(probeID, tenant.IsolationNamespace)
	golden(t, "probe", text(server.ProbeUnit(plain, ProbeName(42, 1), "ten-1000000", "/run/tenement/probe.json")))
	shared := server
	shared.PrivateNetwork = false
	golden(t, "probe network", text(shared.ProbeUnit(plain, ProbeName(42, 6), "ten-1000000", "/run/tenement/probe.json", "port:30000", "bind:127.0.0.1:30001")))
}

// The fence is not promised by the configuration: without it an instance runs all the
// same.
func TestRenderWithoutFence(t *testing.T) {
	none := server
	none.BindFence, none.ConnectFence = false, false
	for _, h := range []Host{server, none} {
		_, service, err := h.Render(spec(h), "ten-7")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(text(service), `"-fence"`); got != h.BindFence {
			t.Errorf("got a fence: %t, want %t", got, h.BindFence)
		}
	}
}

// On an older systemd less is rendered, and what is promised is still there.
func TestRenderForOlderManagers(t *testing.T) {
	old := server
	old.PrivatePIDs, old.DelegateSubgroup = false, false
	_, service, err := old.Render(spec(old), "ten-7")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, p := range service.Properties {
		if names[p.Name] && p.Name != "SystemCallFilter" { // what is allowed, and what of it is not
			t.Errorf("%s is there twice", p.Name)
		}
		names[p.Name] = true
	}
	for name, want := range map[string]bool{
		"PrivatePIDs": false, "DelegateSubgroup": false, "ProtectProc": true, "User": true, "SystemCallFilter": true, "NoNewPrivileges": true,
	} {
		if names[name] != want {
			t.Errorf("%s: got %t, want %t", name, names[name], want)
		}
	}
}

func sandboxed(s *tenant.Spec) {
	s.Isolation, s.Network = tenant.IsolationSandbox, tenant.NetworkPrivate
}

func TestUnsupported(t *testing.T) {
	for name, c := range map[string]struct {
		host func(*Host)
		spec func(*tenant.Spec)
		says string
	}{
		"namespaces":    {func(h *Host) { h.Namespaces = false }, func(*tenant.Spec) {}, "namespace"},
		"rootless pids": {func(h *Host) { h.User, h.PrivatePIDs = true, false }, func(*tenant.Spec) {}, "PrivatePIDs"},
		"network":       {func(h *Host) { h.PrivateNetwork = false }, func(s *tenant.Spec) { s.Network = tenant.NetworkPrivate }, "private"},
		"runsc":         {func(h *Host) { h.Runsc, h.Sandbox = "", false }, sandboxed, "runsc, which is not installed"},
		"gVisor":        {func(h *Host) { h.Sandbox = false }, sandboxed, `"sandbox" does not take effect`},
		"sandbox pids":  {func(h *Host) { h.PrivatePIDs = false }, sandboxed, `"sandbox" needs PrivatePIDs=`},
		"sandbox net":   {func(h *Host) { h.PrivateNetwork = false }, sandboxed, "private"},
		"sandbox hides": {func(*Host) {}, func(s *tenant.Spec) { sandboxed(s); s.Argv[0] = "/root/app" }, `"sandbox" hides`},
		"user":          {func(h *Host) { h.User = true }, func(s *tenant.Spec) { s.Isolation, s.User = tenant.IsolationProcess, "www-data" }, "www-data"},
		"memory":        {func(h *Host) { h.Controllers = []string{"cpu", "pids"} }, func(s *tenant.Spec) { s.Limits = tenant.Limits{tenant.LimitMemory: 1} }, "memory_limit_mb"},
		"tasks":         {func(h *Host) { h.Controllers = []string{"cpu", "memory"} }, func(s *tenant.Spec) { s.Limits = tenant.Limits{tenant.LimitTasks: 16} }, "tasks_max"},
		"cpu":           {func(h *Host) { h.Controllers = []string{"memory", "pids"} }, func(s *tenant.Spec) { s.Limits = tenant.Limits{tenant.LimitCPUShares: 1} }, "cpu_shares"},
		"cpu quota":     {func(h *Host) { h.Controllers = []string{"memory", "pids"} }, func(s *tenant.Spec) { s.Limits = tenant.Limits{tenant.LimitCPUQuota: 1} }, "cpu_quota"},
		"io":            {func(h *Host) { h.IOWeight = false }, func(s *tenant.Spec) { s.Limits = tenant.Limits{tenant.LimitIOWeight: 1} }, "io_weight"},
		"workdir":       {func(*Host) {}, func(s *tenant.Spec) { s.WorkDir = "/a:b" }, "/a:b"},
		"data":          {func(*Host) {}, func(s *tenant.Spec) { s.DataDir = "/a\nb" }, "a\\nb"},
		"program":       {func(*Host) {}, func(s *tenant.Spec) { s.Argv[0] = "/root/bin/app" }, "/root/bin/app"},
		"bind":          {func(*Host) {}, func(s *tenant.Spec) { s.BindReadOnlyPaths = []string{"/a:b"} }, "/a:b"},
	} {
		h, s := server, spec(server)
		c.host(&h)
		c.spec(&s)
		_, _, err := h.Render(s, "ten-7")
		var e *tenant.Error
		if !errors.As(err, &e) || e.Code != tenant.CodeUnsupported || !strings.Contains(e.Msg, c.says) || e.Hint == "" {
			t.Errorf("%s: got %v, want an error that names %q and a hint", name, err, c.says)
		}
	}
}

// labels are the longest that names may be, alike up to their end.
func labels() []string {
	long := strings.Repeat("0123456789abcdef", 4)[:tenant.MaxLabel-1]
	return []string{"a", "a-b", long + "a", long + "b", strings.Repeat("x", tenant.MaxLabel)}
}

func TestSocketPathsFit(t *testing.T) {
	for _, h := range []Host{server, laptop, {RuntimeDir: "/run/user/4294967294/tenement"}} {
		seen := map[string]tenant.ID{}
		for _, service := range labels() {
			for _, name := range labels() {
				id := tenant.ID{Service: service, Name: name}
				app := filepath.Join(h.SocketDir(id), "app.sock")
				for _, path := range []string{h.Doorbell(id), app} {
					if len(path) > 107 {
						t.Errorf("%q has %d bytes, want 107 at most", path, len(path))
					}
					if other, ok := seen[path]; ok {
						t.Errorf("%s and %s share %q", id, other, path)
					}
					seen[path] = id
				}
				// systemd's own limit is 255 (UNIT_NAME_MAX - 1).
				for _, unit := range []string{ServiceName(id), SocketName(id)} {
					if len(unit) > 255 {
						t.Errorf("%q has %d bytes, want 255 at most", unit, len(unit))
					}
				}
			}
		}
	}
}

func TestNames(t *testing.T) {
	id := tenant.ID{Service: "my-notes", Name: "alice"}
	for got, want := range map[string]string{
		ServiceName(id): "tenement-my-notes@alice.service",
		SocketName(id):  "tenement-my-notes@alice.socket",
		FileName(id):    "my-notes@alice",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, name := range []string{
		"", "tenement-probe.service", "tenement-a@.service", "tenement-@a.service", "tenement-a@b.slice", "tenement-a@b@c.service",
		"tenement-A@b.service", "other-a@b.service", "tenement-a@b", "tenement--a@b.service", `tenement-a\x2db@c.service`,
	} {
		if id, ok := ParseName(name); ok {
			t.Errorf("%q: got %v, want that it is none of ours", name, id)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("notes", "alice", "tenement-notes@alice.service")
	f.Add("a-b", "c--d", "tenement-a@b@c.socket")
	f.Fuzz(func(t *testing.T, service, name, unit string) {
		id := tenant.ID{Service: service, Name: name}
		valid := tenant.IsLabel(service) && tenant.IsLabel(name)
		for _, unit := range []string{ServiceName(id), SocketName(id)} {
			got, ok := ParseName(unit)
			if ok != valid || valid && got != id {
				t.Errorf("%q: got %v, %t, want %v, %t", unit, got, ok, id, valid)
			}
		}
		if got, ok := ParseName(unit); ok && !slices.Contains([]string{ServiceName(got), SocketName(got)}, unit) {
			t.Errorf("%q was taken for %v, whose units have other names", unit, got)
		}
		if file := FileName(id); valid && (len(file) > maxFileName || strings.ContainsAny(file, "/\x00")) {
			t.Errorf("%v: got file name %q", id, file)
		}
	})
}
