package systemdtest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tenement.dev/dbusctl"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// testRenderedPair has the real manager judge how what package units renders is
// encoded.
func testRenderedPair(t *testing.T) {
	c, _ := connect(t)
	ctx := within(t, limit)
	user := scope() == dbusctl.User
	dir := t.TempDir()
	host := units.Host{
		User: user, RuntimeDir: dir, DataRoot: "/data", InitPath: "/bin/true", NotifySocket: "/run/systemd/notify",
		PrivatePIDs: true, DelegateSubgroup: true, PrivateNetwork: true, Namespaces: true,
		Controllers: []string{"memory", "pids", "cpu", "io"}, IOWeight: true,
	}
	spec := tenant.Spec{
		Argv: []string{"/bin/sleep", "1"}, Env: []string{"A=b c", "D=%$\"'"}, WorkDir: "/home/dev", DataDir: "/data/x", DataRoot: "/data",
		Network: tenant.NetworkPrivate, Listen: tenant.ListenUnix, SocketPath: "/run/x/app.sock",
		Limits: tenant.Limits{
			tenant.LimitMemory: 1 << 26, tenant.LimitTasks: 50, tenant.LimitCPUShares: 200, tenant.LimitCPUQuota: 150,
			tenant.LimitIOWeight: 7, tenant.LimitNoFile: 4096,
		},
		StartupTimeout: time.Second, StopGrace: time.Second,
	}
	for i, isolation := range []tenant.Isolation{tenant.IsolationProcess, tenant.IsolationNamespace} {
		spec.ID = tenant.ID{Service: "rendered", Name: fmt.Sprintf("i%d-%d", os.Getpid(), i)}
		spec.Isolation = isolation
		socket, svc, err := host.Render(spec, "")
		noError(t, "render", err)
		removeAfter(t, socket.Name, svc.Name)
		noError(t, "load "+string(isolation), c.StartTransient(ctx, socket, svc))
		wantDescribed(t, c, svc.Name, "Tenement instance "+spec.ID.String(), "loaded", "inactive", "dead")
		for _, u := range []units.Unit{socket, svc} {
			iface := map[string]string{".socket": "Socket", ".service": "Service"}[filepath.Ext(u.Name)]
			for _, p := range u.Properties {
				special, err := c.Supports(ctx, iface, p.Name)
				noError(t, "ask", err)
				general, err := c.Supports(ctx, "Unit", p.Name)
				noError(t, "ask", err)
				if !special && !general {
					t.Errorf("%s.%s was accepted, but is said to be unknown", iface, p.Name)
				}
			}
		}
		for _, want := range []struct {
			unit, iface, name string
			value             any
		}{
			{svc.Name, "Service", "MemoryMax", uint64(1 << 26)},
			{svc.Name, "Service", "MemorySwapMax", uint64(1 << 26)},
			{svc.Name, "Service", "TasksMax", uint64(50)},
			{svc.Name, "Service", "CPUQuotaPerSecUSec", uint64(1_500_000)},
			{svc.Name, "Service", "CPUWeight", uint64(2000)}, // boosted
			{svc.Name, "Service", "IOWeight", uint64(70)},
			{svc.Name, "Service", "LimitNOFILE", uint64(4096)},
			{svc.Name, "Service", "LimitNOFILESoft", uint64(4096)},
			{svc.Name, "Service", "LimitCORE", uint64(0)},
			{svc.Name, "Service", "Environment", spec.Env},
			{svc.Name, "Unit", "CollectMode", "inactive-or-failed"},
			{socket.Name, "Socket", "SocketMode", uint32(0o600)},
		} {
			got, err := c.Property(ctx, want.unit, want.iface, want.name)
			noError(t, "get", err)
			if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want.value) {
				t.Errorf("%s of %s is %#v, want %#v", want.name, want.unit, got, want.value)
			}
		}
	}
}
