package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/keeper"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

var (
	alice = tenant.ID{Service: "keep", Name: "alice"}
	bob   = tenant.ID{Service: "keep", Name: "bob"}
)

func (r *rig) wake(t *testing.T, spec tenant.Spec) {
	t.Helper()
	if err := r.local.Load(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if err := errors.Join(r.local.Unload(ctx, spec.ID), r.local.Wipe(ctx, spec.ID, true)); err != nil {
			t.Error(err)
		}
	})
	if _, err := r.doorbell(spec.ID).Do(t.Context(), ingress.Ready); err != nil {
		t.Fatal(err)
	}
}

// status reads a field of /proc/PID/status.
func status(t *testing.T, pid int, key string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if k, v, _ := strings.Cut(line, ":"); k == key {
			return strings.TrimSpace(v)
		}
	}
	t.Fatalf("process %d has no %s", pid, key)
	return ""
}

func TestSandbox(t *testing.T) {
	r := newRig(t, nil)
	r.wake(t, r.spec(alice, tenant.IsolationNamespace, tenant.NetworkPrivate))
	r.wake(t, r.spec(bob, tenant.IsolationNamespace, tenant.NetworkPrivate))
	a, b := r.appPID(t, alice), r.appPID(t, bob)

	uid, _, _ := strings.Cut(status(t, a, "Uid"), "\t")
	other, _, _ := strings.Cut(status(t, b, "Uid"), "\t")
	n, _ := strconv.Atoi(uid)
	if os.Geteuid() == 0 && (n < keeper.FirstUID || n > keeper.LastUID || uid == other) {
		t.Errorf("got uids %s and %s, want one of its own for each", uid, other)
	}
	dir := filepath.Join(r.host.DataRoot, "keep", "alice")
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != n || info.Mode().Perm() != 0o700 {
		t.Errorf("data directory: got owner %d, mode %o, want %d, 700", st.Uid, info.Mode().Perm(), n)
	}
	if status(t, a, "NoNewPrivs") != "1" || status(t, a, "Seccomp") != "2" || status(t, a, "CapEff") != "0000000000000000" {
		t.Errorf("got no_new_privs %s, seccomp %s, capabilities %s", status(t, a, "NoNewPrivs"), status(t, a, "Seccomp"), status(t, a, "CapEff"))
	}
	root := func(pid int, path string) string { return filepath.Join("/proc", strconv.Itoa(pid), "root", path) }
	// The view from inside needs rights that only root has here.
	if os.Geteuid() == 0 {
		if !exists(root(a, dir)) || exists(root(a, filepath.Join(r.host.DataRoot, "keep", "bob"))) {
			t.Error("an instance must see its own data directory and no other")
		}
		entries, err := os.ReadDir(root(a, r.host.RuntimeDir))
		for _, e := range entries {
			t.Logf("visible below the runtime directory: %s", e.Name())
		}
		if err == nil && exists(root(a, r.host.Doorbell(bob))) {
			if _, err := os.Stat(r.host.IngressDir()); err != nil {
				t.Fatal(err)
			}
			if info, _ := os.Stat(r.host.IngressDir()); info.Mode().Perm() != 0o700 {
				t.Errorf("the doorbells' directory has mode %o, want 700", info.Mode().Perm())
			}
		}
	}
	for _, ns := range []string{"pid", "mnt", "ipc", "net"} {
		own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", a, ns))
		outside, err2 := os.Readlink("/proc/self/ns/" + ns)
		if os.Geteuid() == 0 && (err != nil || err2 != nil || own == outside) {
			t.Errorf("%s namespace: got %s inside and %s outside (%v, %v)", ns, own, outside, err, err2)
		}
	}

	if _, err := r.doorbell(alice).Do(t.Context(), ingress.Doze); err != nil {
		t.Fatal(err)
	}
	events, err := os.ReadFile(filepath.Join(r.cgroup(t, alice), "app", "cgroup.events"))
	if err != nil || !strings.Contains(string(events), "frozen 1") {
		t.Errorf("dozing: got %q, %v, want it frozen", events, err)
	}
	group := r.cgroup(t, alice)
	if err := r.local.Stop(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if exists(fmt.Sprintf("/proc/%d", a)) || exists(group) {
		t.Error("a stop has left a process or a cgroup")
	}
}

// What a container that was reset has left of an instance that dozed is frozen, and would stop
// the manager for good: it waits for the processes that it makes there.
func TestFrozenCgroupLeft(t *testing.T) {
	r := newRig(t, nil)
	spec := r.spec(alice, tenant.IsolationNamespace, tenant.NetworkPrivate)
	r.wake(t, spec)
	group := r.cgroup(t, alice)
	if err := r.local.Unload(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	app := filepath.Join(group, "app")
	if err := errors.Join(os.MkdirAll(app, 0o755), os.WriteFile(filepath.Join(app, "cgroup.freeze"), []byte("1"), 0)); err != nil {
		t.Fatal(err)
	}
	if err := r.local.Load(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if exists(app) { // rather than let the manager find it
		_ = os.WriteFile(filepath.Join(app, "cgroup.freeze"), []byte("0"), 0)
		t.Fatal("the frozen cgroup is still there")
	}
	if _, err := r.doorbell(alice).Do(t.Context(), ingress.Ready); err != nil {
		t.Fatal(err)
	}
}

// left lists what is to be found of our units and files below /run.
func (r *rig) left(t *testing.T, id tenant.ID) []string {
	t.Helper()
	args := []string{"list-units", "--all", "--plain", "--no-legend", "tenement-*@*"}
	if r.host.User {
		args = append([]string{"--user"}, args...)
	}
	out, err := exec.Command("systemctl", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	left := strings.Fields(string(out))
	if records, _ := filepath.Glob("/run/userdb/*"); !r.host.User {
		left = append(left, records...)
	}
	for _, path := range []string{r.host.Doorbell(id), r.host.SocketDir(id), r.host.BundleDir(id)} {
		if exists(path) {
			left = append(left, path)
		}
	}
	return left
}

func TestUnloadLeavesNothing(t *testing.T) {
	r := newRig(t, nil)
	for _, listen := range []tenant.Listen{tenant.ListenPort, tenant.ListenUnix} {
		for name, how := range map[string]func(){
			"running": func() {},
			"dozing":  func() { _, _ = r.doorbell(alice).Do(t.Context(), ingress.Doze) },
			"asleep":  func() { _ = r.local.Stop(t.Context(), alice) },
			"crashed": func() { _ = syscall.Kill(r.appPID(t, alice), syscall.SIGKILL) },
		} {
			spec := r.spec(alice, tenant.IsolationNamespace, tenant.NetworkHost)
			if listen == tenant.ListenUnix {
				spec.Listen, spec.Port = listen, 0
				spec.SocketPath = filepath.Join(r.host.SocketDir(alice), "app.sock")
				spec.Argv = []string{"/usr/bin/python3", "-c", "import socketserver, http.server as h, sys\n" +
					"class S(socketserver.UnixStreamServer):\n  def get_request(self):\n    r, _ = super().get_request(); return r, ('x', 0)\n" +
					"S(sys.argv[1], h.SimpleHTTPRequestHandler).serve_forever()", spec.SocketPath}
			}
			r.wake(t, spec)
			how()
			if err := r.local.Unload(t.Context(), alice); err != nil {
				t.Fatal(err)
			}
			if left := r.left(t, alice); len(left) > 0 {
				t.Errorf("%s, %s: left behind: %q", listen, name, left)
			}
			if !exists(filepath.Join(r.host.DataRoot, "keep", "alice")) {
				t.Errorf("%s: an unload has removed the data", name)
			}
		}
	}
	if err := r.local.Wipe(t.Context(), alice, true); err != nil || exists(filepath.Join(r.host.DataRoot, "keep", "alice")) {
		t.Errorf("the data is still there, %v", err)
	}
}

// A stop right after a start is heard, also by what cannot hear yet: the first process of a
// PID namespace before it has a handler.
func TestStopDuringTheStart(t *testing.T) {
	r := newRig(t, nil)
	spec := r.spec(alice, tenant.IsolationNamespace, tenant.NetworkPrivate)
	spec.StopGrace = 20 * time.Second // systemd itself waits 5 s longer
	r.wake(t, spec)
	for i := range 30 {
		if err := r.local.Stop(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		rung := make(chan struct{})
		go func() {
			defer close(rung)
			_, _ = r.doorbell(alice).Do(ctx, ingress.Ready)
		}()
		for { // until it has begun to start
			list, err := r.local.List(t.Context(), alice)
			if err != nil || len(list) != 1 {
				t.Fatalf("got %v %v, want the instance", list, err)
			}
			if list[0].Active != "inactive" {
				break
			}
		}
		time.Sleep(time.Duration(i) * time.Millisecond) // somewhere within the start
		cancel()
		<-rung
		begun := time.Now()
		if err := r.local.Stop(t.Context(), alice); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > spec.StopGrace {
			t.Fatalf("stop %d took %v", i+1, took)
		}
	}
}

func TestUIDsAreForEver(t *testing.T) {
	r := newRig(t, nil)
	uid := func(r *rig, id tenant.ID) string {
		r.wake(t, r.spec(id, tenant.IsolationNamespace, tenant.NetworkPrivate))
		uid := status(t, r.appPID(t, id), "Uid")
		if err := r.local.Unload(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return uid
	}
	a, b := uid(r, alice), uid(r, bob)
	if again := uid(r, alice); again != a || a == b {
		t.Errorf("got uids %q, %q and then %q, want the first again", a, b, again)
	}
	other, err := keeper.NewLocal(keeper.Options{Units: r.systemd, Host: r.host, StateDir: r.state})
	if err != nil {
		t.Fatal(err)
	}
	r.local = other
	if again := uid(r, bob); again != b {
		t.Errorf("after a restart: got uid %q, want %q", again, b)
	}
	if err := os.WriteFile(filepath.Join(r.state, "uids.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keeper.NewLocal(keeper.Options{Units: r.systemd, Host: r.host, StateDir: r.state}); err == nil {
		t.Error("a damaged file of uids was taken")
	}
}

// A change of the isolation level gives the data to its new owner.
func TestDataFollowsTheOwner(t *testing.T) {
	r := newRig(t, nil)
	dir := filepath.Join(r.host.DataRoot, "keep", "alice")
	for _, level := range []tenant.Isolation{tenant.IsolationProcess, tenant.IsolationNamespace, tenant.IsolationProcess} {
		r.wake(t, r.spec(alice, level, tenant.NetworkHost))
		want := os.Geteuid()
		if level == tenant.IsolationNamespace {
			want = keeper.FirstUID
		}
		for _, path := range []string{dir, filepath.Join(dir, "sub/file")} {
			info, err := os.Lstat(path)
			if errors.Is(err, os.ErrNotExist) {
				continue // the first time
			}
			if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != want {
				t.Errorf("%s: %s belongs to %d, want %d", level, path, st.Uid, want)
			}
		}
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "sub"), 0o755), os.WriteFile(filepath.Join(dir, "sub/file"), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
		// A link must not give away what it points at.
		_ = os.Symlink("/etc/passwd", filepath.Join(dir, "link"))
		if err := r.local.Unload(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat("/etc/passwd"); err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("/etc/passwd has a new owner: %v", err)
	}
}

func sandboxed(s *tenant.Spec) {
	s.Isolation, s.Network = tenant.IsolationSandbox, tenant.NetworkPrivate
}

// What is in a bundle is for its instance alone.
func TestBundle(t *testing.T) {
	r := newRig(t, nil)
	r.wake(t, r.spec(alice, tenant.IsolationSandbox, tenant.NetworkPrivate))
	gid := os.Getgid()
	if gid == 0 {
		gid = keeper.FirstUID
	}
	dir := r.host.BundleDir(alice)
	for path, want := range map[string]os.FileMode{dir: 0o750, filepath.Join(dir, "config.json"): 0o440} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); info.Mode().Perm() != want || int(st.Uid) != os.Getuid() || int(st.Gid) != gid {
			t.Errorf("%s: got mode %o of %d:%d, want %o of %d:%d", path, info.Mode().Perm(), st.Uid, st.Gid, want, os.Getuid(), gid)
		}
	}
	if err := r.local.Unload(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if left := r.left(t, alice); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// A data directory that was there before becomes the instance's, whoever could look into
// it; one that is its own already is left alone.
func TestDataDirectoryIsTakenOver(t *testing.T) {
	r := newRig(t, nil)
	spec := r.spec(alice, tenant.IsolationNamespace, tenant.NetworkPrivate)
	if err := os.MkdirAll(spec.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	mode := func() os.FileMode {
		info, err := os.Stat(spec.DataDir)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != keeper.FirstUID {
			t.Errorf("%s belongs to %d, want %d", spec.DataDir, st.Uid, keeper.FirstUID)
		}
		return info.Mode().Perm()
	}
	r.wake(t, spec)
	if got := mode(); got != 0o700 {
		t.Errorf("taken over: got mode %o, want 700", got)
	}
	// What others own deeper down is none of a wake's business.
	file := filepath.Join(spec.DataDir, "file")
	if err := errors.Join(os.WriteFile(file, nil, 0o644), os.Chmod(spec.DataDir, 0o750)); err != nil {
		t.Fatal(err)
	}
	if err := r.local.Unload(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	r.wake(t, spec)
	if got := mode(); got != 0o750 {
		t.Errorf("at the next wake: got mode %o, want its own choice, 750", got)
	}
	if info, err := os.Stat(file); err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("the next wake has gone through the data: %v", err)
	}
}

// What the machine cannot give is an error, and nothing is left of the try.
func TestWhatTheMachineCannotDo(t *testing.T) {
	for name, try := range map[string]struct {
		host func(*units.Host)
		spec func(*tenant.Spec)
	}{
		"memory limit": {func(h *units.Host) { h.Controllers = nil }, func(s *tenant.Spec) { s.Limits = tenant.Limits{tenant.LimitMemory: 64 << 20} }},
		"tasks limit":  {func(h *units.Host) { h.Controllers = nil }, func(s *tenant.Spec) { s.Limits = tenant.Limits{tenant.LimitTasks: 64} }},
		"cpu shares":   {func(h *units.Host) { h.Controllers = nil }, func(s *tenant.Spec) { s.Limits = tenant.Limits{tenant.LimitCPUShares: 50} }},
		"namespaces":   {func(h *units.Host) { h.Namespaces = false }, func(*tenant.Spec) {}},
		"no gVisor":    {func(h *units.Host) { h.Runsc = "" }, sandboxed},
		"gVisor":       {func(h *units.Host) { h.Runsc, h.Sandbox = "/usr/bin/runsc", false }, sandboxed},
		"network":      {func(h *units.Host) { h.PrivateNetwork = false }, func(s *tenant.Spec) { s.Network = tenant.NetworkPrivate }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, try.host)
			spec := r.spec(alice, tenant.IsolationNamespace, tenant.NetworkHost)
			try.spec(&spec)
			err := r.local.Load(t.Context(), spec)
			if got := tenant.CodeOf(err); got != tenant.CodeUnsupported {
				t.Fatalf("got %v, want %s", err, tenant.CodeUnsupported)
			}
			if left := r.left(t, alice); len(left) > 0 || exists(spec.DataDir) {
				t.Errorf("left behind: %q, data directory %t", left, exists(spec.DataDir))
			}
		})
	}
}

// A unit that cannot start at all: there is a hint of it soon, a look finds it failed
// or sees it fail again, and an unload ends that.
func TestUnitThatCannotStart(t *testing.T) {
	r := newRig(t, func(h *units.Host) { h.InitPath = place + "/is-not-there" })
	if err := r.local.Load(t.Context(), r.spec(alice, tenant.IsolationNamespace, tenant.NetworkHost)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := r.doorbell(alice).Do(t.Context(), ingress.Ready)
		done <- err
	}()
	begun := time.Now()
	failed, seen := 0, 0
	for failed < 3 && seen == 0 && time.Since(begun) < quick {
		select {
		case s := <-r.local.Events():
			if s.Active == "failed" {
				failed++
			}
			list, err := r.local.List(t.Context(), alice)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("after %v: hint %q, listed %+v", time.Since(begun), s.Active, list)
			if len(list) == 1 && list[0].Active == "failed" {
				seen++
			}
		case <-time.After(quick):
		}
	}
	if failed < 3 && seen == 0 {
		t.Errorf("got %d hints of a failed unit in %v", failed, time.Since(begun))
	}
	if err := r.local.Unload(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ingress.ErrHungUp) {
		t.Errorf("ring: got %v, want %v", err, ingress.ErrHungUp)
	}
	if left := r.left(t, alice); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
