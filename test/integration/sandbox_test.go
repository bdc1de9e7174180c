package integration

import (
	"encoding/json"
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

// prisoner tells what it sees of the machine, and does what it is asked to.
const prisoner = `
import json, os, socket, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
def attempt(f, *args):
    try:
        return "done: %s" % (f(*args),)
    except Exception as e:
        return "refused: %s" % e
def unix(path):
    s = socket.socket(socket.AF_UNIX); s.settimeout(2); s.connect(path)
def tcp(port):
    socket.create_connection(("127.0.0.1", int(port)), 2)
def write(path):
    with open(path, "w") as f: f.write("x")
verbs = {"unix": unix, "tcp": tcp, "write": write, "read": lambda p: open(p, "rb").read(), "list": os.listdir,
    "kill": lambda pid: os.kill(int(pid), 9), "setuid": lambda uid: os.setuid(int(uid)), "mknod": lambda p: os.mknod(p, 0o60600, os.makedev(8, 0))}
class H(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        found = {"version": open("/proc/version").read(), "pids": [int(p) for p in os.listdir("/proc") if p.isdigit()],
            "env": dict(os.environ), "cwd": os.getcwd(), "hostname": socket.gethostname(), "own": os.getpid()}
        for verb, arg in urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query):
            found[verb + " " + arg] = attempt(verbs[verb], arg)
        body = json.dumps(found).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
`

// seen is what the prisoner says; the attempts are in a map by verb and argument.
type seen struct {
	Version, Cwd, Hostname string
	PIDs                   []int
	Own                    int
	Env                    map[string]string
}

func interrogate(t *testing.T, s *harness.Server, id string, attempts ...string) (seen, map[string]string) {
	t.Helper()
	var query []string
	for _, a := range attempts {
		query = append(query, strings.Replace(a, " ", "=", 1))
	}
	text := []byte(s.Text(id, "/?"+strings.Join(query, "&")))
	var found seen
	var all map[string]any
	if json.Unmarshal(text, &found) != nil || json.Unmarshal(text, &all) != nil {
		t.Fatalf("got %s", text)
	}
	results := map[string]string{}
	for _, a := range attempts {
		results[a], _ = all[a].(string)
	}
	return found, results
}

func TestSandboxSeparates(t *testing.T) {
	for name, rootless := range map[string]bool{"root": false, "rootless": true} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, harness.Options{
				Config: "[service.app]\ncommand = \"python3 prisoner.py\"\nisolation = \"sandbox\"\n[service.app.env]\nSECRET = \"of {id}\"\nDIR = \"{data_dir}/{id}\"\n" +
					"[service.plain]\ncommand = \"{bin}/testapp\"\nisolation = \"process\"\n",
				Files:    map[string]string{"prisoner.py": prisoner},
				Env:      []string{"DAEMON_SECRET=1"},
				Rootless: rootless,
			})
			s.Spawn("app:alice", "app:bob", "plain:carol")
			runtime := "/run/tenement"
			if rootless {
				runtime = "/run/user/1000/tenement"
			}
			carol := strconv.Itoa(appPID(t, s, "plain:carol"))
			own := filepath.Dir(dataFile(s, "app:alice"))
			refused := []string{
				"read " + dataFile(s, "app:bob"), "list " + filepath.Dir(dataFile(s, "app:bob")), "write " + dataFile(s, "app:bob"),
				"list " + filepath.Join(s.Dir, "data/.tenement"), "write " + s.Dir + "/x", "write /etc/x", "write /usr/bin/runsc",
				"read /etc/shadow", "read /proc/" + carol + "/environ", "kill " + carol,
				"unix " + runtime + "/api.sock", "unix " + runtime + "/ingress/app@bob.sock", "list " + runtime + "/bundle", "list " + runtime + "/ingress",
				"read " + runtime + "/bundle/app@alice/config.json", "list /var/tmp/runsc",
				"unix /run/dbus/system_bus_socket", "unix /run/systemd/private", "unix /run/systemd/notify", "unix /run/user/1000/bus",
				"unix /run/systemd/journal/stdout",
				fmt.Sprint("tcp ", s.Port), fmt.Sprint("tcp ", s.Get("plain:carol").Port),
				"mknod " + own + "/disk", "setuid 1000",
			}
			s.Text("plain:carol", "/")
			found, results := interrogate(t, s, "app:alice", append(refused, "write "+own+"/file", "read "+own+"/file", "write /tmp/x", "write /var/tmp/y")...)
			for _, attempt := range refused {
				if got := results[attempt]; !strings.HasPrefix(got, "refused: ") {
					t.Errorf("%s: got %q, want it refused", attempt, got)
				}
				delete(results, attempt)
			}
			for attempt, got := range results {
				if !strings.HasPrefix(got, "done: ") {
					t.Errorf("%s: got %q, want it done", attempt, got)
				}
			}
			if text, err := os.ReadFile(dataFile(s, "app:alice")); err != nil || string(text) != "x" {
				t.Errorf("its file from outside: got %q, %v", text, err)
			}
			host, err := os.ReadFile("/proc/version")
			if err != nil || found.Version == string(host) || !strings.HasPrefix(found.Version, "Linux version 4.4.0 ") {
				t.Errorf("/proc/version: got %q, want gVisor's and not %q (%v)", found.Version, host, err)
			}
			if len(found.PIDs) > 2 || !slices.Contains(found.PIDs, found.Own) {
				t.Errorf("processes: got %v, want its own, %d", found.PIDs, found.Own)
			}
			if found.Hostname != "alice" || found.Cwd != s.Dir {
				t.Errorf("got host name %q in %q, want alice in %q", found.Hostname, found.Cwd, s.Dir)
			}
			// The environment is what the configuration says, to a word, and only the app has it.
			want := map[string]string{
				"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": own, "DATA_DIR": own, "DIR": own, "LANG": "C.UTF-8",
				"TENEMENT_SERVICE": "app", "TENEMENT_INSTANCE": "alice", "PORT": "8080", "SECRET": "of alice",
			}
			if fmt.Sprint(found.Env) != fmt.Sprint(want) {
				t.Errorf("environment: got %v, want %v", found.Env, want)
			}
			if got := s.Show("app:alice", "Environment"); got != "" {
				t.Errorf("the environment of the unit: got %q, want none", got)
			}
			for _, pid := range appPIDs(t, s, "app:alice") {
				if n, _ := strconv.Atoi(strings.Fields(status(t, pid, "Uid"))[0]); !rootless && n < 0x6ff00000 || rootless && n != 1000 {
					t.Errorf("process %d runs as uid %d", pid, n)
				}
				if status(t, pid, "NoNewPrivs") != "1" || status(t, pid, "Seccomp") != "2" {
					t.Errorf("process %d: no new privileges %s, seccomp %s", pid, status(t, pid, "NoNewPrivs"), status(t, pid, "Seccomp"))
				}
			}
			checkDataDir(t, s, "app:alice", rootless)
		})
	}
}

// checkDataDir checks that an instance's data is its own, below directories that can be
// passed through and not listed.
func checkDataDir(t *testing.T, s *harness.Server, id string, rootless bool) {
	t.Helper()
	dir := filepath.Dir(dataFile(s, id))
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Dir(dir): 0o711} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got mode %v, %v, want %o", path, info.Mode(), err, want)
		}
	}
	if uid := owner(t, dir); !rootless && uid < 0x6ff00000 || rootless && uid != 1000 {
		t.Errorf("%s belongs to %d", dir, uid)
	}
}

// Where there is no gVisor, everybody is told, and the rest works.
func TestNoGVisor(t *testing.T) {
	const runsc, away = "/usr/bin/runsc", "/usr/bin/runsc-away"
	if err := os.Rename(runsc, away); err != nil {
		t.Fatal(err)
	}
	back := func() { _ = os.Rename(away, runsc) }
	t.Cleanup(back)
	s := harness.Start(t, harness.Options{Config: app + "isolation = \"sandbox\"\n[service.other]\ncommand = \"{bin}/testapp\"\n"})
	eventually(t, "the log has a warning of the service app", func() bool {
		got := s.Log.String()
		return strings.Contains(got, "service cannot run on this machine") && strings.Contains(got, "service=app")
	})
	if got := s.Log.String(); strings.Contains(got, "service=other") {
		t.Errorf("log: got\n%s\nwant a warning of the service app alone", got)
	}
	if got := s.Ten("doctor"); !strings.Contains(got.Stdout, `no  isolation = "sandbox"`) || !strings.Contains(got.Stdout, "apt install runsc") {
		t.Errorf("doctor: got %s, want what to do", got)
	}
	r := s.Ten("spawn", "app:alice")
	if r.Code == 0 || !strings.Contains(r.Stderr, "runsc, which is not installed") || !strings.Contains(r.Stderr, "hint: install it") {
		t.Errorf("spawn: got %s, want an error that names runsc", r)
	}
	if got := len(s.List()); got != 0 {
		t.Errorf("instances: got %d, want nothing left behind", got)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "data/app/alice")); !os.IsNotExist(err) {
		t.Errorf("the data directory is left behind (%v)", err)
	}
	s.Spawn("other:alice")

	// Installed later, it is found without a restart; a program that is not gVisor is not.
	if err := os.WriteFile(runsc, []byte("#!/bin/sh\nshift 6; exec /proc/1/exe --probe\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if r := s.Ten("spawn", "app:alice"); r.Code == 0 || !strings.Contains(r.Stderr, `"sandbox" does not take effect`) {
		t.Errorf("spawn with a false runsc: got %s, want it refused", r)
	}
	back()
	s.Spawn("app:alice")
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("with runsc: got count %s, want 1", got)
	}
	s.Await("other:alice", tenant.Awake)
	if got := s.Ten("doctor"); !strings.Contains(got.Stdout, `ok  isolation = "sandbox"`) {
		t.Errorf("doctor: got %s, want the sandbox", got)
	}
}

// The quick start's {data_dir}/{id} is the instance's own directory at every level.
func TestQuickStartAtEveryLevel(t *testing.T) {
	files, _ := readQuickStart(t)
	for _, level := range []string{"namespace", "sandbox"} {
		for _, rootless := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s rootless=%v", level, rootless), func(t *testing.T) {
				config := strings.Replace(files["tenement.toml"], `isolation = "process"`, fmt.Sprintf("isolation = %q", level), 1)
				s := harness.Start(t, harness.Options{Config: config, Files: map[string]string{"app.py": files["app.py"]}, Rootless: rootless})
				s.Spawn("notes:alice", "notes:bob")
				post, err := s.Do(t.Context(), "POST", "notes:alice", "/notes", `{"text":"of alice"}`)
				if err != nil || post.Status != 201 {
					t.Fatalf("POST: got %+v, %v", post, err)
				}
				if r := s.Ten("stop", "notes:alice"); r.Code != 0 {
					t.Error(r)
				}
				if got := s.Text("notes:alice", "/notes"); !strings.Contains(got, "of alice") {
					t.Errorf("alice's notes after a stop: got %s", got)
				}
				if got := s.Text("notes:bob", "/notes"); got != "[]" {
					t.Errorf("bob's notes: got %s, want none", got)
				}
				db := filepath.Join(filepath.Dir(dataFile(s, "notes:alice")), "notes.db")
				if got, want := owner(t, db), owner(t, filepath.Dir(db)); got != want {
					t.Errorf("%s belongs to %d, its directory to %d", db, got, want)
				}
				checkDataDir(t, s, "notes:alice", rootless)
				checkDataDir(t, s, "notes:bob", rootless)
			})
		}
	}
}

// What gVisor costs is printed, and bounded.
func TestSandboxMemory(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "[service.boxed]\ncommand = \"{bin}/testapp\"\nisolation = \"sandbox\"\n"})
	s.Spawn("app:alice", "boxed:alice")
	private := map[string]int{} // KiB that no other process shares
	for _, id := range []string{"app:alice", "boxed:alice"} {
		s.Text(id, "/count")
		for _, pid := range appPIDs(t, s, id) {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				if fields := strings.Fields(line); strings.HasPrefix(fields[0], "Private_") {
					kib, err := strconv.Atoi(fields[1])
					if err != nil {
						t.Fatalf("%q: %v", line, err)
					}
					private[id] += kib
				}
			}
		}
	}
	more := private["boxed:alice"] - private["app:alice"]
	t.Logf("private memory of the test app: %d KiB, in the sandbox %d KiB", private["app:alice"], private["boxed:alice"])
	if more > 48<<10 {
		t.Errorf("the sandbox takes %d KiB more, want 48 MiB at most", more)
	}
}
