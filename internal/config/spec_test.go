package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

var (
	alice = tenant.ID{Service: "notes", Name: "alice"}
	place = Placement{Port: 30001, SocketDir: "/run/tenement/app/notes@alice"}
)

// specOf gives the spec of notes:alice.
func specOf(t *testing.T, c *Config) tenant.Spec {
	t.Helper()
	s, err := c.Spec(alice, place)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSpec(t *testing.T) {
	dir := world(t)
	got := specOf(t, must(t, dir, quickStart))
	want := tenant.Spec{
		ID:   alice,
		Argv: []string{dir + "/bin/python3", "app.py"},
		Env: []string{
			"DATA_DIR=" + dir + "/data/notes/alice",
			"HOME=" + dir + "/data/notes/alice",
			"LANG=C.UTF-8",
			"PATH=" + dir + "/bin",
			"PORT=30001",
			"TENEMENT_INSTANCE=alice",
			"TENEMENT_SERVICE=notes",
		},
		WorkDir:        dir,
		DataDir:        dir + "/data/notes/alice",
		DataRoot:       dir + "/data",
		Isolation:      tenant.IsolationProcess,
		Network:        tenant.NetworkHost,
		Listen:         tenant.ListenPort,
		Port:           30001,
		StartupTimeout: 10 * time.Second,
		StopGrace:      10 * time.Second,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestSpecFilledIn(t *testing.T) {
	dir := world(t)
	c := must(t, dir, `
[settings]
data_dir = "/srv"
[service.notes]
command = "app/run --name {name} '--json={\"id\":\"{id}\"}' {{id}}"
args = ["{socket}", "{data_dir}/{name}/{id}/x"]
listen = "unix"
network = "private"
workdir = "."
bind_read_only_paths = ["app"]
memory_limit_mb = 64
cpu_shares = 7
tasks_max = 99
startup_timeout = 60
stop_grace = "1s"
[service.notes.env]
LANG = "de_DE.UTF-8"
HOME = "/tmp"
PATH = "/opt/{id}/bin:/usr/bin"
DATA_DIR = "{data_dir}/{id}/db"
SOCK = "unix:{socket}"
`)
	got := specOf(t, c)
	socket := place.SocketDir + "/app.sock"
	want := tenant.Spec{
		ID:   alice,
		Argv: []string{dir + "/app/run", "--name", "notes", `--json={"id":"alice"}`, "{id}", socket, "/srv/notes/alice/x"},
		Env: []string{
			"DATA_DIR=/srv/notes/alice/db",
			"HOME=/tmp",
			"LANG=de_DE.UTF-8",
			"PATH=/opt/alice/bin:/usr/bin",
			"SOCK=unix:" + socket,
			"SOCKET_PATH=" + socket,
			"TENEMENT_INSTANCE=alice",
			"TENEMENT_SERVICE=notes",
		},
		WorkDir:           dir,
		DataDir:           "/srv/notes/alice",
		DataRoot:          "/srv",
		Isolation:         tenant.IsolationNamespace,
		Network:           tenant.NetworkPrivate,
		Listen:            tenant.ListenUnix,
		SocketPath:        socket,
		BindReadOnlyPaths: []string{dir + "/app"},
		Limits:            tenant.Limits{tenant.LimitMemory: 64 << 20, tenant.LimitTasks: 99, tenant.LimitCPUShares: 7},
		StartupTimeout:    time.Minute,
		StopGrace:         time.Second,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if again := specOf(t, c); again.Fingerprint() != got.Fingerprint() {
		t.Errorf("got another fingerprint the second time")
	}
}

// TestSpecInherits checks that nothing of this process's environment gets in.
func TestSpecInherits(t *testing.T) {
	t.Setenv("SECRET", "x")
	t.Setenv("PATH", "/secret")
	t.Setenv("HOME", "/secret")
	t.Setenv("LANG", "secret")
	c, err := Parse("tenement.toml", []byte("[service.notes]\ncommand = \"sh\"\nlisten = \"fd\"\n"), world(t))
	if err != nil {
		t.Fatal(err)
	}
	spec := specOf(t, c)
	for _, v := range spec.Env {
		if strings.Contains(strings.ToLower(v), "secret") {
			t.Errorf("got %s", v)
		}
	}
	if want := "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"; spec.Env[3] != want {
		t.Errorf("got %s, want %s", spec.Env[3], want)
	}
	if want := "/app.sock"; spec.Port != 0 || !strings.HasSuffix(spec.SocketPath, want) {
		t.Errorf("got port %d and socket %q, want none and one for ten-init with listen = fd", spec.Port, spec.SocketPath)
	}
	for _, v := range spec.Env {
		if strings.HasPrefix(v, "SOCKET_PATH=") {
			t.Errorf("got %s, want the app told of its descriptor only", v)
		}
	}
}

// TestOneWord checks that what is filled in stays within its word.
func TestOneWord(t *testing.T) {
	dir := world(t)
	spaced := filepath.Join(dir, "a b; c")
	if err := os.Mkdir(spaced, 0o755); err != nil {
		t.Fatal(err)
	}
	c := must(t, spaced, "[service.notes]\ncommand = \"/bin/sh {data_dir}/{id}\"\n")
	if got, want := specOf(t, c).Argv, []string{"/bin/sh", spaced + "/data/notes/alice"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSpecSocket(t *testing.T) {
	dir := world(t)
	for _, test := range []struct{ socket, want string }{
		{"web.sock", place.SocketDir + "/web.sock"},
		{"sub/{id}.sock", place.SocketDir + "/sub/alice.sock"},
		{"{data_dir}/{id}/web.sock", "/srv/notes/alice/web.sock"},
		{"{data_dir}/{name}/{id}/./web.sock", "/srv/notes/alice/web.sock"},
	} {
		c := must(t, dir, "[settings]\ndata_dir = \"/srv\"\n[service.notes]\ncommand = \"app\"\nlisten = \"unix\"\nsocket = \""+test.socket+"\"\n")
		if got := specOf(t, c).SocketPath; got != test.want {
			t.Errorf("%s: got %s, want %s", test.socket, got, test.want)
		}
	}
}

// TestSpecProgram has programs that depend on the instance.
func TestSpecProgram(t *testing.T) {
	dir := world(t)
	data := filepath.Join(dir, "data", "notes", "alice")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "start"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{
		"command = \"{data_dir}/{id}/start\"\n",
		"command = \"./start\"\nworkdir = \"{data_dir}/{id}\"\n",
		"command = \"start\"\nenv.PATH = \"/nowhere:{data_dir}/{id}\"\n",
	} {
		c := must(t, dir, "[service.notes]\n"+service)
		if got, want := specOf(t, c).Argv[0], filepath.Join(data, "start"); got != want {
			t.Errorf("%s: got %s, want %s", service, got, want)
		}
		_, err := c.Spec(tenant.ID{Service: "notes", Name: "bob"}, place)
		if got := tenant.CodeOf(err); got != tenant.CodeStartFailed || !strings.Contains(err.Error(), "command not found: ") {
			t.Errorf("%s: bob: got %v, want that the command is not found", service, err)
		}
	}
}

func TestSpecRefuses(t *testing.T) {
	dir := world(t)
	c := must(t, dir, "[service.notes]\ncommand = \"app\"\n[service.web]\ncommand = \"app\"\nlisten = \"unix\"\n")
	for _, test := range []struct {
		id        tenant.ID
		place     Placement
		code      tenant.Code
		msg, hint string
	}{
		{tenant.ID{Service: "nots", Name: "a"}, place, tenant.CodeNotFound, `there is no service "nots"`, `did you mean "notes"? tenement.toml has: notes, web`},
		{tenant.ID{Service: "notes", Name: "../etc"}, place, tenant.CodeInvalid, `"../etc" is not a valid instance name`, "use 1 to 63 lower-case letters, digits and inner hyphens, as in a host name"},
		{tenant.ID{Service: "notes", Name: "a"}, Placement{}, tenant.CodeInternal, "0 is not a port", ""},
		{tenant.ID{Service: "web", Name: "a"}, Placement{SocketDir: "run"}, tenant.CodeInternal, `socket directory "run" is not absolute`, ""},
		{
			tenant.ID{Service: "web", Name: "a"}, Placement{SocketDir: "/" + strings.Repeat("d", 98)}, tenant.CodeInvalid,
			"the path of socket /" + strings.Repeat("d", 98) + "/app.sock has 108 bytes, and 107 is the most", "use shorter names, or leave socket out",
		},
	} {
		_, err := c.Spec(test.id, test.place)
		var e *tenant.Error
		if !errors.As(err, &e) {
			t.Errorf("%v: got %v, want a *tenant.Error", test.id, err)
		} else if e.Code != test.code || e.Msg != test.msg || e.Hint != test.hint {
			t.Errorf("%v: got %s %q %q, want %s %q %q", test.id, e.Code, e.Msg, e.Hint, test.code, test.msg, test.hint)
		}
	}
	if _, err := c.Spec(tenant.ID{Service: "web", Name: "a"}, Placement{SocketDir: "/" + strings.Repeat("d", 97)}); err != nil {
		t.Errorf("a socket of 107 bytes: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "bin/app")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Spec(alice, place); tenant.CodeOf(err) != tenant.CodeStartFailed {
		t.Errorf("got %v after the program went, want code %s", err, tenant.CodeStartFailed)
	}
}

// TestNotOurs: where the daemon's user may not look, the instance's start tells.
func TestNotOurs(t *testing.T) {
	denied := &os.PathError{Op: "stat", Path: "/home/notes/run", Err: syscall.EACCES}
	if p := executableProblem("notes", "/home/notes/run", denied); p != nil {
		t.Errorf("got %+v, want no problem with %v", p, denied)
	}
	looped := &os.PathError{Op: "stat", Path: "/home/notes/run", Err: syscall.ELOOP}
	if p := executableProblem("notes", "/home/notes/run", looped); p == nil {
		t.Errorf("got no problem with %v", looped)
	}
}

// The sandbox goes with a private network, said or not.
func TestSandboxIsPrivate(t *testing.T) {
	dir := world(t)
	for _, network := range []string{"", "network = \"private\"\n"} {
		c := must(t, dir, "[service.notes]\ncommand = \"app\"\nisolation = \"sandbox\"\n"+network)
		spec, err := c.Spec(tenant.ID{Service: "notes", Name: "alice"}, Placement{Port: 8080})
		if err != nil || spec.Isolation != tenant.IsolationSandbox || spec.Network != tenant.NetworkPrivate {
			t.Errorf("%q: got %s and %s, %v, want a private network", network, spec.Isolation, spec.Network, err)
		}
	}
}
