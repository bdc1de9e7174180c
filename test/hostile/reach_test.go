package hostile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

func TestWhatIsNotItsOwn(t *testing.T) {
	for name, rootless := range map[string]bool{"root": false, "rootless": true} {
		t.Run(name, func(t *testing.T) { reach(t, rootless) })
	}
}

// attempt is one thing to try and the errors that refuse it.
type attempt struct {
	what  string
	args  []string
	errno string // alternatives, by spaces
}

func reach(t *testing.T, rootless bool) {
	s := harness.New(t, harness.Options{Config: config, Rootless: rootless})
	// It has the environment of all services, so its owner keeps it to himself.
	if err := os.Chmod(filepath.Join(s.Dir, "tenement.toml"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Run()
	s.Spawn(mallory, bob)
	note := filepath.Join(s.Dir, "data/app/bob/note")
	s.Text(bob, "/write?path="+note)
	runtime := "/run/tenement"
	if rootless {
		runtime = "/run/user/1000/tenement"
	}
	apart(t, s, bob)
	neighbour := strconv.Itoa(pids(t, s, bob, "app")[0])
	neighbourInit := strconv.Itoa(pids(t, s, bob, "init")[0])
	daemon := strconv.Itoa(s.PID())
	cgroup := filepath.Join("/sys/fs/cgroup", s.Show(bob, "ControlGroup"))
	ownGroup := filepath.Join("/sys/fs/cgroup", s.Show(mallory, "ControlGroup"))

	list := []attempt{
		{"read", []string{"path", note}, "ENOENT"},
		{"list", []string{"path", filepath.Dir(note)}, "ENOENT"},
		{"write", []string{"path", note, "text", "x"}, "ENOENT"},
		{"create", []string{"path", filepath.Join(s.Dir, "data/app/x")}, "ENOENT EROFS"},
		{"create", []string{"path", filepath.Join(s.Dir, "data/bad/other/x")}, "ENOENT"},
		{"mkdir", []string{"path", filepath.Join(s.Dir, "data/bad/eve")}, "EROFS EACCES"},
		{"read", []string{"path", filepath.Join(s.Dir, "data/.tenement/registry.db")}, "ENOENT"},
		{"read", []string{"path", "/etc/shadow"}, "EACCES"},
		{"create", []string{"path", "/etc/x"}, "EACCES EROFS"},
		{"create", []string{"path", "/run/x"}, "EACCES EROFS"},
		{"create", []string{"path", "/run/lock/x"}, "EACCES EROFS"},
		{"create", []string{"path", "/usr/local/bin/x"}, "EACCES EROFS"},
		{"read", []string{"path", "/home/dev/.profile"}, "ENOENT"},
		{"list", []string{"path", "/run/user/1000/tenement"}, "ENOENT"},

		{"mount", nil, "EPERM"}, {"umount", nil, "EPERM"}, {"chroot", nil, "EPERM"}, {"pivot", nil, "EPERM"},
		{"userns", nil, "EPERM"}, {"mountns", nil, "EPERM"}, {"netns", nil, "EPERM"}, {"clone3", nil, "ENOSYS EPERM"},
		{"root", nil, "EPERM EINVAL"}, {"nice", nil, "EACCES EPERM"}, {"realtime", nil, "EPERM"},
		{"clock", nil, "EPERM"}, {"hostname", nil, "EPERM"}, {"module", nil, "EPERM"}, {"reboot", nil, "EPERM"},
		{"kernellog", nil, "EPERM"}, {"bpf", nil, "EPERM"}, {"perf", nil, "EPERM"}, {"userfault", nil, "EPERM"},
		{"uring", nil, "ENOSYS"}, {"kexec", nil, "EPERM"}, {"swapon", nil, "EPERM"}, {"handle", nil, "EPERM"},
		{"quota", nil, "EPERM"}, {"iopl", nil, "EPERM"}, {"mknod", nil, "EPERM"}, {"setuidfile", nil, "EPERM"},
		{"packet", nil, "EAFNOSUPPORT"}, {"rawip", nil, "EPERM"}, {"vsock", nil, "EAFNOSUPPORT"}, {"crypto", nil, "EAFNOSUPPORT"},

		// Processes of others are not there, whatever their number.
		{"kill", []string{"pid", neighbour, "signal", "0"}, "ESRCH"},
		{"kill", []string{"pid", daemon, "signal", "0"}, "ESRCH"},
		{"ptrace", []string{"pid", neighbour}, "EPERM"},
		{"memory", []string{"pid", neighbour}, "ESRCH EPERM"},
		// And its own ten-init, which holds the doorbell, keeps to itself.
		{"ptrace", []string{"pid", "1"}, "EPERM"},
		{"memory", []string{"pid", "1"}, "EPERM"},
		{"takefd", []string{"pid", "1", "fd", "3"}, "EPERM"},
		{"read", []string{"path", "/proc/1/mem"}, "EACCES"},
		{"write", []string{"path", "/proc/1/mem", "text", "x"}, "EACCES"},
		{"read", []string{"path", "/proc/1/environ"}, "EACCES"},
		{"list", []string{"path", "/proc/1/fd"}, "EACCES"},
		{"link", []string{"path", "/proc/1/root"}, "EACCES"},
		{"write", []string{"path", "/proc/1/oom_score_adj", "text", "1000"}, "EACCES"},

		// Who may ring, and the managers.
		{"connect", []string{"unix", runtime + "/ingress/app@bob.sock"}, "EACCES ENOENT"},
		{"connect", []string{"unix", runtime + "/ingress/bad@mallory.sock"}, "EACCES ENOENT"},
		{"connect", []string{"unix", runtime + "/api.sock"}, "EACCES ENOENT"},
		{"connect", []string{"unix", "/run/systemd/private"}, "EACCES"},
		{"connect", []string{"unix", "/run/dbus/system_bus_socket"}, "EACCES"},
		{"list", []string{"path", "/run/dbus"}, "EACCES"},
		{"list", []string{"path", "/run/systemd/transient"}, "EACCES ENOENT"}, // without units of root's it is not there
		{"list", []string{"path", "/run/lock"}, "EACCES"},
		// The nodes that are bound over them.
		{"list", []string{"path", "/run/systemd/inaccessible/dir"}, "EACCES"},
		{"create", []string{"path", "/run/systemd/inaccessible/dir/x"}, "EACCES EROFS"},
		{"connect", []string{"unix", "/run/systemd/inaccessible/sock"}, "EACCES"},
		{"connect", []string{"unix", "/run/user/1000/bus"}, "ENOENT"},
		{"connect", []string{"unix", "/run/user/1000/systemd/private"}, "ENOENT"},
	}
	for _, pid := range []string{neighbour, neighbourInit, daemon} {
		for _, file := range []string{"environ", "mem", "maps", "cwd/x", "root/etc/passwd", "fd/0"} {
			list = append(list, attempt{"read", []string{"path", "/proc/" + pid + "/" + file}, "ENOENT"})
		}
	}
	if !rootless { // where both are one user's, what belongs to that user is open to them
		list = append(list,
			// Cgroups of others, and the limits in its own.
			attempt{"write", []string{"path", cgroup + "/cgroup.procs", "text", "0"}, "EACCES"},
			attempt{"write", []string{"path", cgroup + "/app/cgroup.kill", "text", "1"}, "EACCES"},
			attempt{"write", []string{"path", cgroup + "/app/cgroup.freeze", "text", "1"}, "EACCES"},
			attempt{"write", []string{"path", cgroup + "/cgroup.freeze", "text", "1"}, "EACCES"},
			attempt{"write", []string{"path", filepath.Dir(cgroup) + "/cgroup.procs", "text", "0"}, "EACCES"},
			attempt{"write", []string{"path", "/sys/fs/cgroup/cgroup.procs", "text", "0"}, "EACCES"},
			attempt{"write", []string{"path", ownGroup + "/cgroup.freeze", "text", "1"}, "EACCES"},
			attempt{"write", []string{"path", ownGroup + "/cgroup.kill", "text", "1"}, "EACCES"},
			attempt{"write", []string{"path", ownGroup + "/cgroup.max.descendants", "text", "max"}, "EACCES"},
			attempt{"read", []string{"path", filepath.Join(s.Dir, "tenement.toml")}, "EACCES"},
			attempt{"read", []string{"path", "/var/lib/tenement/uids.json"}, "EACCES"},
			attempt{"neighbouruid", []string{"uid", "1"}, "EPERM"},
		)
	}
	for _, a := range list {
		got := try(t, s, a.what, a.args...)
		if !slices.Contains(strings.Fields(a.errno), got.Errno) {
			t.Errorf("%s %q: got %q (%s) %.100q, want %s", a.what, a.args, got.Errno, got.Err, got.Text, a.errno)
		}
	}

	// Signals to ten-init that would end any other process.
	for _, signal := range []string{"9", "19"} {
		try(t, s, "kill", "pid", "1", "signal", signal)
	}
	if got := try(t, s, "run", "command", "su -c id root; echo; exec su root </dev/null"); strings.Contains(got.Text, "uid=0") {
		t.Errorf("su: got %q", got.Text)
	}
	if got := try(t, s, "processes").Text; len(strings.Fields(got)) > 3 {
		t.Errorf("processes that it sees: got %s, want ten-init and its own", got)
	}
	if got := s.Get(mallory).State; got != tenant.Awake {
		t.Errorf("after all attempts it is %v, want awake", got)
	}
	if got := s.Text(bob, "/count"); got != "1" {
		t.Errorf("its neighbour: got count %s, want 1", got)
	}
}

// What two of them can write to is not the same.
func TestNothingIsShared(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: config})
	other := "bad:eve"
	s.Spawn(mallory, other)
	for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue"} {
		if r := try(t, s, "create", "path", dir+"/mine", "text", "x"); r.Err != "" {
			t.Logf("%s: %s", dir, r.Err)
		}
		if got := ask(t, s, other, "/try/list", "path", dir); strings.Contains(got.Text, "mine") {
			t.Errorf("%s is shared: got %q", dir, got.Text)
		}
	}
	if r := try(t, s, "sharedmemory", "key", "4711", "flags", "950"); r.Err != "" { // IPC_CREAT | 0666
		t.Fatal(r.Err)
	}
	if got := ask(t, s, other, "/try/sharedmemory", "key", "4711", "flags", "0"); got.Errno != "ENOENT" {
		t.Errorf("shared memory of another: got %v, want ENOENT", got)
	}
	for _, ring := range []string{"-3", "-4", "-5"} { // session, user, user session: keyctl(2)
		try(t, s, "addkey", "name", "mine", "ring", ring)
		if got := ask(t, s, other, "/try/findkey", "name", "mine", "ring", ring); got.Err == "" {
			t.Errorf("key of another in keyring %s: got %s", ring, got.Text)
		}
	}
}

// Where its socket is it has little room, and none that is the machine's: without /run
// nothing there goes on.
func TestSocketDirectory(t *testing.T) {
	for name, rootless := range map[string]bool{"root": false, "rootless": true} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, harness.Options{Config: config + "listen = \"unix\"\n", Rootless: rootless})
			s.Spawn(mallory)
			dir := "/run/tenement/app/bad@mallory"
			if rootless {
				dir = "/run/user/1000/tenement/app/bad@mallory"
			}
			if r := ask(t, s, mallory, "/attack/disk", "path", dir, "mb", "64", "ms", "10000"); r.Errno != "ENOSPC" {
				t.Errorf("64 MB beside its socket: got %+v, want ENOSPC", r)
			}
			full := false
			for i := 0; i < 1000 && !full; i++ {
				full = try(t, s, "mkdir", "path", filepath.Join(dir, strconv.Itoa(i))).Errno == "ENOSPC"
			}
			if !full {
				t.Error("1000 directories beside its socket: got them, want ENOSPC")
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("in the machine's %s: got %v, %v, want nothing", dir, left, err)
			}
			if r := s.Ten("stop", mallory); r.Code != 0 {
				t.Errorf("stop: %s", r)
			}
			if got := try(t, s, "list", "path", dir).Text; got != "app.sock" {
				t.Errorf("in its next life: got %q, want its socket alone", got)
			}
		})
	}
}

// A directory in which everybody may make files, as screen(1) has one in /run, is nothing
// that instances share, or could fill for all.
func TestDirectoriesOfEverybody(t *testing.T) {
	dirs := []string{"/run/everybody", "/srv/everybody"}
	for _, dir := range dirs {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o1777)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	for name, rootless := range map[string]bool{"root": false, "rootless": true} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, harness.Options{Config: config, Rootless: rootless})
			s.Spawn(mallory)
			for _, dir := range dirs {
				if got := try(t, s, "create", "path", dir+"/"+name); got.Errno != "EROFS" {
					t.Errorf("create a file in %s: got %+v, want EROFS", dir, got)
				}
			}
		})
	}
}

// openSockets are what a tenant may connect to all the same.
var openSockets = []string{
	"/run/systemd/journal/dev-log", "/run/systemd/journal/socket", "/run/systemd/journal/stdout",
	"/run/systemd/notify",
	"/run/systemd/userdb/", // who has which uid, as from getpwuid(3)
	// These take everybody's calls and go by who calls: the first takes systemd-oomd's
	// only, the second only what needs no authorization, the third tells the host's name.
	"/run/systemd/io.systemd.ManagedOOM", "/run/systemd/io.systemd.Credentials", "/run/systemd/io.systemd.Hostname",
}

func TestUnixSocketsOfTheMachine(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: config})
	s.Spawn(mallory, bob)
	text, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 8 || seen[fields[7]] {
			continue
		}
		path := fields[7]
		seen[path] = true
		open := slices.ContainsFunc(openSockets, func(p string) bool { return strings.HasPrefix(path, p) })
		if got := try(t, s, "connect", "unix", path); got.Err == "" && !open {
			t.Errorf("it can connect to %s", path)
		}
	}
	if len(seen) < 15 {
		t.Errorf("got %d sockets, too few to be all: %v", len(seen), seen)
	}
}

// What it tells the manager and the journal is only about itself.
func TestForgedMessages(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: config})
	s.Spawn(mallory, bob)
	before := s.Show(mallory, "MainPID")
	for _, text := range []string{"MAINPID=7\nREADY=1", "STOPPING=1", "ERRNO=1", "FDSTORE=1\nFDNAME=x", "WATCHDOG=trigger", "BUSERROR=x"} {
		try(t, s, "send", "net", "unixgram", "unix", "/run/systemd/notify", "text", text)
	}
	native := "MESSAGE=forged\nUNIT=tenement-app@bob.service\n_SYSTEMD_UNIT=tenement-app@bob.service\nOBJECT_SYSTEMD_UNIT=tenement-app@bob.service\n" +
		"TENEMENT_INSTANCE=app:bob\nSYSLOG_IDENTIFIER=app:bob\n"
	try(t, s, "send", "net", "unixgram", "unix", "/run/systemd/journal/socket", "text", native)
	stream := "app:bob\ntenement-app@bob.service\n6\n0\n0\n0\n0\nforged\n"
	try(t, s, "send", "net", "unix", "unix", "/run/systemd/journal/stdout", "text", stream)
	s.Text(bob, "/log?out=mine")
	if out, err := s.Command("/usr/bin/journalctl", "--sync").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	all, _ := s.Command("/usr/bin/journalctl", "--no-pager", "--output=cat").CombinedOutput()
	if !strings.Contains(string(all), "forged") {
		t.Error("nothing forged came to the journal at all")
	}
	if got := s.Ten("logs", bob).Stdout; strings.Contains(got, "forged") || !strings.Contains(got, "mine") {
		t.Errorf("the neighbour's log: got %q, want only its own", got)
	}
	if got := s.Show(mallory, "MainPID"); got != before {
		t.Errorf("MainPID: got %s, want still %s", got, before)
	}
	if got := fmt.Sprint(s.Show(mallory, "NFileDescriptorStore"), s.Show(mallory, "ActiveState")); got != "0active" {
		t.Errorf("its unit: got %s, want nothing stored, and active", got)
	}
}
