package keeper_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
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
	"tenement.dev/internal/ingress"
	"tenement.dev/internal/keeper"
	"tenement.dev/internal/lifecycle"
	"tenement.dev/internal/lifecycle/lifecycletest"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/machine"
	"tenement.dev/units"
)

// These tests run in the throwaway machine, as root and, in a copy of this program,
// as the user dev.
func TestMain(m *testing.M) { os.Exit(machine.Main(m)) }

// place is where the tests' files are; below it nothing is hidden by the sandbox.
const place = "/opt/tenement-test"

// quick is how long anything may take in a busy machine.
const quick = 20 * time.Second

// rig is a Local with its connection to systemd.
type rig struct {
	local   *keeper.Local
	systemd *dbusctl.Client
	host    units.Host
	checks  []keeper.Check
	state   string
	end     func() // ends the local's Run
}

// newRig makes a Local after probing the machine; change may spoil what was found.
func newRig(t *testing.T, change func(*units.Host)) *rig {
	t.Helper()
	user := os.Geteuid() != 0
	host := units.Host{User: user, RuntimeDir: "/run/tenement-test", DataRoot: filepath.Join(place, "data"), InitPath: filepath.Join(place, "ten-init")}
	scope := dbusctl.System
	if user {
		host.RuntimeDir = "/run/user/1000/tenement-test"
		host.DataRoot = "/home/dev/data"
		host.NotifySocket = "/run/user/1000/systemd/notify"
		scope = dbusctl.User
	} else {
		install(t)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	client, err := dbusctl.Dial(t.Context(), dbusctl.Options{Scope: scope, Prefix: units.Prefix, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { client.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	r := &rig{systemd: client, state: t.TempDir()}
	if r.host, r.checks, err = keeper.Probe(t.Context(), client, host); err != nil {
		t.Fatal(err)
	}
	r.host.Runsc, r.host.Sandbox = "/usr/bin/runsc", true // TestLook looks
	if change != nil {
		change(&r.host)
	}
	r.local, err = keeper.NewLocal(keeper.Options{Units: client, Hints: client.Events(), Host: r.host, StateDir: r.state, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	local, running := r.local, make(chan struct{})
	localCtx, end := context.WithCancel(ctx)
	r.end = func() {
		end()
		<-running
	}
	go func() {
		defer close(running)
		_ = local.Run(localCtx)
	}()
	t.Cleanup(r.end)
	return r
}

// install puts ten-init where every user and every sandbox can execute it.
func install(t *testing.T) {
	t.Helper()
	if err := installed(); err != nil {
		t.Fatal(err) // and so in each test: without it some wait for a start that never comes
	}
}

var installed = sync.OnceValue(func() error {
	path, err := exec.LookPath("ten-init")
	if err != nil {
		return errors.New("bin/ten-init is not built; `make build` does it")
	}
	if err := os.MkdirAll(place, 0o755); err != nil {
		return err
	}
	return copyFile(filepath.Join(place, "ten-init"), path)
})

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	_ = os.Remove(to)
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

// runAsDev runs tests of this program as the user dev.
func runAsDev(t *testing.T, pattern string) {
	t.Helper()
	install(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(place, "test-of-"+t.Name())
	if err := copyFile(binary, self); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-test.run="+pattern, "-test.v="+flag.Lookup("test.v").Value.String())
	cmd.Dir = "/home/dev"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	cmd.Env = append(os.Environ(), "HOME=/home/dev", "USER=dev",
		"XDG_RUNTIME_DIR=/run/user/1000", "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as dev: %v\n%s", err, out)
		return
	}
	t.Logf("as dev:\n%s", out)
}

// nextPort is the last that was given: below those that the kernel gives to clients.
var nextPort = 22000

// spec gives a web server under the given isolation.
func (r *rig) spec(id tenant.ID, isolation tenant.Isolation, network tenant.Network) tenant.Spec {
	nextPort++
	dir := filepath.Join(r.host.DataRoot, id.Service, id.Name)
	return tenant.Spec{
		ID:      id,
		Argv:    []string{"/usr/bin/python3", "-m", "http.server", strconv.Itoa(nextPort), "--bind", "127.0.0.1"},
		Env:     []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "TEST_OF=" + id.Name},
		WorkDir: "/usr", DataDir: dir, DataRoot: r.host.DataRoot,
		Isolation: isolation, Network: network, Listen: tenant.ListenPort, Port: nextPort,
		StartupTimeout: 15 * time.Second, StopGrace: 3 * time.Second,
	}
}

func (r *rig) doorbell(id tenant.ID) lifecycle.Doorbell {
	return ingress.Doorbell(r.host.Doorbell(id))
}

// cgroup is the directory of an instance's own cgroup, empty where there is none.
func (r *rig) cgroup(t *testing.T, id tenant.ID) string {
	t.Helper()
	v, err := r.systemd.Property(t.Context(), units.ServiceName(id), "Service", "ControlGroup")
	if err != nil {
		t.Fatal(err)
	}
	path, _ := v.(string)
	for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if dir := filepath.Join(mount, path); path != "" && exists(filepath.Join(dir, "cgroup.procs")) {
			return dir
		}
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// appPID is the first process of an instance's app. ten-init, which is beside it until it has
// moved out, is not: the kernel takes the moment for that.
func (r *rig) appPID(t *testing.T, id tenant.ID) int {
	t.Helper()
	first, err := r.systemd.Property(t.Context(), units.ServiceName(id), "Service", "MainPID")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(r.cgroup(t, id), "app", "cgroup.procs"))
	if err != nil {
		t.Fatalf("%s has no app: %v", id, err)
	}
	for field := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		if first != uint32(pid) {
			return pid
		}
	}
	t.Fatalf("%s has no app", id)
	return 0
}

func (r *rig) bench(t *testing.T, isolation tenant.Isolation, network tenant.Network) lifecycletest.Bench {
	spec := func(argv []string, timeout time.Duration) func(tenant.ID) tenant.Spec {
		return func(id tenant.ID) tenant.Spec {
			s := r.spec(id, isolation, network)
			if argv != nil {
				s.Argv = argv
			}
			s.StartupTimeout = timeout
			return s
		}
	}
	return lifecycletest.Bench{
		Controller: r.local,
		Doorbell:   r.doorbell,
		Spec:       spec(nil, 15*time.Second),
		Exits:      spec([]string{"/bin/sh", "-c", "exit 3"}, 15*time.Second),
		Hangs:      spec([]string{"/bin/sleep", "1000"}, 300*time.Millisecond),
		Crash: func(id tenant.ID) {
			if err := syscall.Kill(r.appPID(t, id), syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		},
		Limits: func(id tenant.ID) tenant.Limits { return r.limits(t, id) },
		Data: func(id tenant.ID, bytes int64) {
			dir := filepath.Join(r.host.DataRoot, id.Service, id.Name)
			half := []byte(strings.Repeat("x", int(bytes/2))) // zeros may become holes
			err := errors.Join(os.MkdirAll(filepath.Join(dir, "a/b"), 0o755),
				os.WriteFile(filepath.Join(dir, "x"), half, 0o644), os.WriteFile(filepath.Join(dir, "a/b/y"), half, 0o644))
			if err != nil {
				t.Fatal(err)
			}
		},
		Quick: quick,
	}
}

// limits are what systemd says of a unit.
func (r *rig) limits(t *testing.T, id tenant.ID) tenant.Limits {
	t.Helper()
	limits := tenant.Limits{}
	for limit, property := range map[tenant.Limit]string{
		tenant.LimitMemory: "MemoryMax", tenant.LimitTasks: "TasksMax", tenant.LimitCPUShares: "CPUWeight",
	} {
		v, err := r.systemd.Property(t.Context(), units.ServiceName(id), "Service", property)
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := v.(uint64); ok && n < math.MaxInt64 {
			limits[limit] = int64(n)
		}
	}
	return limits
}

// levels are the combinations of isolation and network.
var levels = []struct {
	isolation tenant.Isolation
	network   tenant.Network
}{
	{tenant.IsolationProcess, tenant.NetworkHost},
	{tenant.IsolationNamespace, tenant.NetworkHost},
	{tenant.IsolationNamespace, tenant.NetworkPrivate},
	{tenant.IsolationSandbox, tenant.NetworkPrivate},
}

func TestConform(t *testing.T) {
	for _, level := range levels {
		if level.isolation == tenant.IsolationSandbox && os.Geteuid() != 0 {
			continue // test/integration has that; it is the slowest of all
		}
		t.Run(fmt.Sprintf("%s %s", level.isolation, level.network), func(t *testing.T) {
			lifecycletest.Conform(t, func(t *testing.T) lifecycletest.Bench {
				// Where a controller is missing systemd takes its limits all the same.
				all := func(h *units.Host) { h.Controllers = []string{"cpu", "memory", "pids"}; h.IOWeight = true }
				return newRig(t, all).bench(t, level.isolation, level.network)
			})
		})
	}
}

func TestRootless(t *testing.T) {
	if os.Geteuid() != 0 {
		return // this is the run as dev
	}
	runAsDev(t, "^(TestConform|TestSandbox|TestUnloadLeavesNothing|TestWhatTheMachineCannotDo|TestBundle|TestLook|TestUnitThatCannotStart)$")
}
