package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/api/apitest"
	"tenement.dev/internal/keeper"
	"tenement.dev/internal/tenant"
)

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// Without being told where, ten asks the daemon of the user that it runs as.
func TestWhichDaemon(t *testing.T) {
	run := t.TempDir()
	for _, c := range []struct {
		euid int
		env  func(string) string
		want string
	}{
		{0, env(), run + "/tenement"},
		{0, env("XDG_RUNTIME_DIR", "/run/user/0"), run + "/tenement"},
		{0, env("RUNTIME_DIRECTORY", run+"/own"), run + "/own"},
		{1000, env(), run + "/user/1000/tenement"},
		{1000, env("XDG_RUNTIME_DIR", run+"/xdg"), run + "/xdg/tenement"},
		{1000, env("XDG_RUNTIME_DIR", run+"/xdg", "RUNTIME_DIRECTORY", run+"/own"), run + "/own"},
		{1000, env("TENEMENT_SERVER", run+"/flag/api.sock"), run + "/flag"},
	} {
		if err := os.MkdirAll(c.want, 0o755); err != nil {
			t.Fatal(err)
		}
		d, err := apitest.Run(filepath.Join(c.want, "api.sock"))
		if err != nil {
			t.Fatal(err)
		}
		d.Instances.Put(tenant.Snapshot{ID: tenant.ID{Service: "notes", Name: "here"}})
		got := runIn(t, func(w *world) { w.euid, w.getenv, w.run = c.euid, c.env, run }, "ps")
		if err := d.Stop(); err != nil {
			t.Fatal(err)
		}
		if got.code != 0 || !strings.Contains(got.out, "notes:here") {
			t.Errorf("uid %d, want the daemon in %s: got %+v", c.euid, c.want, got)
		}
	}
}

// Who asks for a daemon that is not there is told of one that is.
func TestTheOtherDaemon(t *testing.T) {
	run, etc := t.TempDir(), t.TempDir()
	for _, path := range []string{"/tenement/api.sock", "/user/1000/tenement/api.sock"} {
		if err := os.MkdirAll(filepath.Dir(run+path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	check := func(euid int, getenv func(string) string, want string) {
		t.Helper()
		got := runIn(t, func(w *world) { w.euid, w.getenv, w.run, w.etc = euid, getenv, run, etc }, "ps")
		if got.code != exitNoDaemon || got.out != "" || got.err != want {
			t.Errorf("uid %d: got %+v, want %q", euid, got, want)
		}
	}
	system, own := run+"/tenement/api.sock", run+"/user/1000/tenement/api.sock"
	check(0, env(), "ten: no Tenement daemon answers at "+system+"\nhint: start one with `ten serve`\n")
	check(1000, env(), "ten: no Tenement daemon answers at "+own+"\nhint: start one with `ten serve`\n")

	// One that is installed is started by systemd.
	if err := os.MkdirAll(etc+"/tenement", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(etc+"/tenement/tenement.toml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check(0, env(), "ten: no Tenement daemon answers at "+system+"\nhint: start that of this machine with `systemctl start tenement`; `journalctl -u tenement` says why it ended\n")
	check(1000, env(), "ten: no Tenement daemon answers at "+own+"\nhint: start one with `ten serve`; the system's does not run either: `systemctl start tenement`, as root\n")
	if err := os.RemoveAll(etc + "/tenement"); err != nil {
		t.Fatal(err)
	}

	listen := func(path string) {
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
	}
	listen(own)
	check(0, env(), "ten: no Tenement daemon answers at "+system+"\nhint: start one with `ten serve`; or use a user's, with --server "+own+"\n")
	check(0, env("TENEMENT_SERVER", system), "ten: no Tenement daemon answers at "+system+"\nhint: start one with `ten serve`\n")
	listen(system)
	forbid(t, system)
	theirs := "ten: no Tenement daemon answers at " + run + "/user/1001/tenement/api.sock\nhint: start one with `ten serve`; or use the system's, at " + system + ", with sudo"
	check(1001, env(), theirs+"\n")
	if err := os.Chmod(system, 0o020); err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(strconv.Itoa(os.Getegid()))
	if err != nil {
		t.Fatal(err)
	}
	check(1001, env(), theirs+", or as a member of the group "+group.Name+", from the next login on\n")
}

// forbid has this test be nobody who may use its own file at path. As root it gives up the
// right to use all files, in its thread, which ends with it.
func forbid(t *testing.T, path string) {
	t.Helper()
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		t.Fatal(err)
	}
}

// Who has no daemon of their own uses the system's, if they may.
func TestTheSystemsDaemon(t *testing.T) {
	run := t.TempDir()
	start := func(path, name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		apitest.Start(t, path).Instances.Put(tenant.Snapshot{ID: tenant.ID{Service: "notes", Name: name}})
	}
	check := func(want string) {
		t.Helper()
		got := runIn(t, func(w *world) { w.euid, w.run = 1000, run }, "ps")
		if got.code != 0 || !strings.Contains(got.out, want) {
			t.Errorf("got %+v, want %s", got, want)
		}
	}
	start(run+"/tenement/api.sock", "system")
	check("notes:system")
	start(run+"/user/1000/tenement/api.sock", "own")
	check("notes:own")
}

// doctor without a daemon looks at the machine itself.
func TestDoctorWithoutDaemon(t *testing.T) {
	for _, c := range []struct {
		what   string
		checks []keeper.Check
		err    error
		code   int
		out    string
	}{
		{"a machine", []keeper.Check{{Name: "systemd", OK: true, Detail: "257"}, {Name: "doze", Detail: "no freezer", Hint: "use cgroup v2"}},
			nil, 0, "ok  systemd  257\nno  doze     no freezer\n    hint: use cgroup v2\n"},
		{"a machine without systemd", nil, &tenant.Error{Code: tenant.CodeUnsupported, Msg: "Tenement needs systemd; none is running here", Hint: "try `make demo`"},
			0, "no  systemd  Tenement needs systemd; none is running here\n    hint: try `make demo`\n"},
		{"a broken one", nil, errors.New("read: it is broken"), 1, ""},
	} {
		var out, errs strings.Builder
		p := &program{
			world:       world{out: &out, err: &errs, getenv: env(), run: t.TempDir()},
			doctorLocal: func(context.Context) ([]keeper.Check, error) { return c.checks, c.err },
		}
		err := p.doctor(t.Context(), false)
		if exitCode(err) != c.code || out.String() != c.out || !strings.HasPrefix(errs.String(), "no daemon answers at ") {
			t.Errorf("%s: got %v, %q, %q, want %d, %q", c.what, err, out.String(), errs.String(), c.code, c.out)
		}
	}
}

// Following a log goes on until it is interrupted, which is no error, or the daemon
// stops, which is one.
func TestFollow(t *testing.T) {
	d := apitest.Start(t, filepath.Join(t.TempDir(), "api.sock"))
	d.Instances.Put(tenant.Snapshot{ID: tenant.ID{Service: "notes", Name: "alice"}})
	waiting, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	follow := func(end func(interrupt func())) result {
		t.Helper()
		ctx, interrupt := context.WithCancel(waiting)
		defer interrupt()
		r, w := io.Pipe()
		var errs strings.Builder
		code := make(chan int, 1)
		go func() {
			code <- run(ctx, []string{"logs", "-f", "-n", "0", "notes:alice"}, world{
				out: w, err: &errs, getenv: env("TENEMENT_SERVER", d.Path), now: time.Now,
			})
			_ = w.Close()
		}()
		if err := d.Logs.AwaitFollowers(waiting, 1); err != nil {
			t.Fatal(err)
		}
		d.Logs.Add("tenement-notes@alice.service", "hello", false)
		line := make([]byte, 64)
		n, err := r.Read(line)
		if err != nil || !strings.HasSuffix(string(line[:n]), "  hello\n") {
			t.Errorf("got %q, %v, want the new line", line[:n], err)
		}
		end(interrupt)
		rest, err := io.ReadAll(r)
		if err != nil {
			t.Error(err)
		}
		return result{<-code, string(rest), errs.String()}
	}
	if got := follow(func(interrupt func()) { interrupt() }); got != (result{}) {
		t.Errorf("interrupted: got %+v, want nothing", got)
	}
	if err := d.Logs.AwaitFollowers(waiting, 0); err != nil {
		t.Error(err)
	}
	got := follow(func(func()) {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	if got.code != exitFailure || !strings.Contains(got.err, "went away") {
		t.Errorf("daemon stopped: got %+v", got)
	}
}

// Interrupting a wake ends ten and tells what becomes of it.
func TestInterruptedSpawn(t *testing.T) {
	d := apitest.Start(t, filepath.Join(t.TempDir(), "api.sock"))
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	go func() {
		<-d.Instances.Waiting()
		interrupt()
	}()
	var out, errs strings.Builder
	code := run(ctx, []string{"spawn", "notes:slow", "notes:never"}, world{
		out: &out, err: &errs, getenv: env("TENEMENT_SERVER", d.Path), now: time.Now,
	})
	if code != exitFailure || out.String() != "" || strings.Count(errs.String(), "interrupted") != 1 {
		t.Errorf("got %d, %q, %q", code, out.String(), errs.String())
	}
	if _, err := d.Instances.Get(tenant.ID{Service: "notes", Name: "never"}); err == nil {
		t.Error("the next instance was spawned after the interruption")
	}
}
