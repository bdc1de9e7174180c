package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// runtimes are apps in several languages and styles; each must work at each level. What
// path answers is of this run of the app: it counts, or is drawn by lot at its start.
var runtimes = map[string]struct{ command, listen, path string }{
	"go":     {`{bin}/testapp`, "port", "/count"},
	"gounix": {`{bin}/testapp`, "unix", "/count"},
	"gofd":   {`{bin}/testapp`, "fd", "/count"},
	"node":   {`node app.js`, "port", "/"},
	"python": {`python3 threaded.py`, "port", "/"},
	"shell":  {`bash app.sh`, "port", "/"},
}

// Each leaves a mark in its data when it is told to end.
var runtimeFiles = map[string]string{
	"app.js": `
const fs = require("fs"), lot = require("crypto").randomUUID()
process.on("SIGTERM", () => { fs.appendFileSync(process.env.DATA_DIR + "/marks", "term\n"); process.exit(0) })
require("http").createServer((req, res) => res.end(lot + "\n")).listen(process.env.PORT, "127.0.0.1")
`,
	"threaded.py": `
import os, signal, threading, uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
lot = uuid.uuid4().hex.encode()
class H(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", str(len(lot))); self.end_headers(); self.wfile.write(lot)
def end(*_):
    with open(os.environ["DATA_DIR"] + "/marks", "a") as f: f.write("term\n")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
for _ in range(4): threading.Thread(target=threading.Event().wait, daemon=True).start()
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
`,
	"app.sh": `
trap 'echo term >> "$DATA_DIR/marks"; exit 0' TERM
sleep 1000 & setsid sleep 1000 & (trap '' TERM; while :; do sleep 1; done) &
mkdir -p "$HOME/www"; echo "$RANDOM$RANDOM$RANDOM" > "$HOME/www/index.html"
python3 -m http.server "$PORT" --bind 127.0.0.1 --directory "$HOME/www" &
while :; do wait; done
`,
}

func TestEveryRuntimeWorksAtEveryLevel(t *testing.T) {
	for _, rootless := range []bool{false, true} {
		for _, level := range []string{"process", "namespace", "private", "sandbox"} {
			name := level
			if rootless {
				name += "-rootless"
			}
			t.Run(name, func(t *testing.T) {
				runtimes := maps.Clone(runtimes)
				if level == "sandbox" {
					delete(runtimes, "gofd") // refused, see TestBadConfigurations
				}
				everyRuntimeWorks(t, runtimesAt(level, runtimes), slices.Collect(maps.Keys(runtimes)), rootless)
			})
		}
	}
}

// runtimesAt is a configuration with the runtimes at an isolation level, or "private",
// which is namespace with a network of its own.
func runtimesAt(level string, runtimes map[string]struct{ command, listen, path string }) string {
	isolation, network := level, "host"
	switch level {
	case "private":
		isolation, network = "namespace", "private"
	case "sandbox":
		network = "private"
	}
	var config strings.Builder
	for name, r := range runtimes {
		fmt.Fprintf(&config, "[service.%s]\ncommand = %q\nlisten = %q\nisolation = %q\nnetwork = %q\ndoze_timeout = \"300ms\"\nidle_timeout = \"2s\"\nstop_grace = 3\n",
			name, r.command, r.listen, isolation, network)
	}
	return config.String()
}

// everyRuntimeWorks takes the runtimes through waking, dozing, sleeping and a stop by hand.
func everyRuntimeWorks(t *testing.T, config string, names []string, rootless bool) {
	s := harness.Start(t, harness.Options{Config: config, Files: runtimeFiles, Rootless: rootless})
	ask := func(name string) string { return s.Text(name+":alice", runtimes[name].path) }
	first := map[string]string{}
	for _, name := range names {
		id := name + ":alice"
		s.Spawn(id)
		first[name] = ask(name)
		s.Await(id, tenant.Dozing)
		want := first[name]
		if want == "1" {
			want = "2"
		}
		if got := ask(name); got != want || want == "" {
			t.Errorf("%s: after a doze: got %q, want %q", id, got, want)
		}
	}
	for _, name := range names {
		id := name + ":alice"
		s.Await(id, tenant.Asleep)
		if got := marks(s, name); got != "term\n" {
			t.Errorf("%s: marks of its SIGTERM handler after sleep: got %q, want one", id, got)
		}
		if got := s.Show(id, "ControlGroup"); got != "" {
			t.Errorf("%s sleeps and still has the cgroup %s", id, got)
		}
		again := ask(name)
		if counts := first[name] == "1"; counts && again != "1" || !counts && again == first[name] {
			t.Errorf("%s: after sleep: got %q again, want a new process", id, again)
		}
		pids := appPIDs(t, s, id)
		if name == "shell" && len(pids) < 5 {
			t.Errorf("%s: got processes %v, want the script and its children", id, pids)
		}
		if r := s.Ten("stop", id); r.Code != 0 {
			t.Errorf("%s: %s", id, r)
		}
		for _, pid := range pids {
			if alive(pid) {
				t.Errorf("%s: process %d survives the stop", id, pid)
			}
		}
		if got := marks(s, name); got != "term\nterm\n" {
			t.Errorf("%s: marks of its SIGTERM handler after a stop: got %q, want two", id, got)
		}
		if got := s.Get(id); got.Wakes != 2 || got.Thaws < 1 {
			t.Errorf("%s: got %d wakes and %d thaws, want 2 and at least 1", id, got.Wakes, got.Thaws)
		}
	}
}

// marks is what alice of a service has left in her data.
func marks(s *harness.Server, service string) string {
	text, _ := os.ReadFile(filepath.Join(s.Dir, "data", service, "alice/marks"))
	return string(text)
}

func TestNamespaceLevelSeparates(t *testing.T) {
	s := harness.Start(t, harness.Options{
		Config: app + "[service.app.env]\nGREETING = \"hi {id}\"\n[service.plain]\ncommand = \"{bin}/testapp\"\nisolation = \"process\"\n",
		Env:    []string{"DAEMON_SECRET=1"},
	})
	s.Spawn("app:alice", "app:bob", "plain:carol")
	s.Text("app:bob", "/write?path="+dataFile(s, "app:bob"))

	uids := map[string]bool{}
	for _, id := range []string{"app:alice", "app:bob"} {
		uid := status(t, appPID(t, s, id), "Uid")
		if n, _ := strconv.Atoi(strings.Fields(uid)[0]); n < 0x6ff00000 {
			t.Errorf("%s runs as uid %s, want one of our range", id, uid)
		}
		uids[uid] = true
	}
	if len(uids) != 2 {
		t.Errorf("uids: got %v, want one each", uids)
	}
	for name, want := range map[string]string{"CapEff": "0000000000000000", "CapBnd": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2"} {
		if got := status(t, appPID(t, s, "app:alice"), name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	// Its own directory is writable; everything else is not, and others' are not there.
	s.Text("app:alice", "/write?path="+dataFile(s, "app:alice"))
	for _, path := range []string{"/etc/x", s.Dir + "/x", filepath.Join(s.Dir, "data/app/x"), dataFile(s, "app:bob")} {
		if got := s.Fetch("app:alice", "/write?path="+path).Status; got != 403 {
			t.Errorf("writing %s: got %d, want it refused", path, got)
		}
	}
	bob := strconv.Itoa(appPID(t, s, "app:bob"))
	for _, path := range []string{
		dataFile(s, "app:bob"), filepath.Join(s.Dir, "data/.tenement/registry.db"),
		"/proc/" + bob + "/environ", "/etc/shadow", "/run/tenement/api.sock",
	} {
		if resp := s.Fetch("app:alice", "/read?path="+path); resp.Status != 403 {
			t.Errorf("reading %s: got %d %q, want it refused", path, resp.Status, resp.Body)
		}
	}
	if got := s.Text("app:alice", "/forbidden"); got != "" {
		t.Errorf("the sandbox lets the app: %s", got)
	}
	// Two instances have two sets of processes, mounts and IPC objects.
	for _, ns := range []string{"pid", "mnt", "ipc"} {
		seen := map[string]bool{}
		for _, pid := range []int{os.Getpid(), appPID(t, s, "app:alice"), appPID(t, s, "app:bob")} {
			link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns))
			if err != nil {
				t.Fatal(err)
			}
			seen[link] = true
		}
		if len(seen) != 3 {
			t.Errorf("%s namespaces: got %v, want three", ns, seen)
		}
	}
	// The environment is what the configuration says, at any level.
	for _, id := range []string{"app:alice", "plain:carol"} {
		env := s.Seen(id, "/").Env
		for _, word := range []string{"DAEMON_SECRET", "NOTIFY_SOCKET", "LISTEN_FDS"} {
			if slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, word) }) {
				t.Errorf("%s has %s in its environment", id, word)
			}
		}
	}
	if env := s.Seen("app:alice", "/").Env; !slices.Contains(env, "GREETING=hi alice") {
		t.Errorf("environment: got %v, want GREETING=hi alice", env)
	}
}

// owner is the uid that a file belongs to.
func owner(t *testing.T, path string) int {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return int(st.Uid)
}

// status gives a field of /proc/PID/status.
func status(t *testing.T, pid int, field string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no %s in the status of %d", field, pid)
	return ""
}

func TestPrivateNetworkLetsTwoHaveTheSamePort(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "network = \"private\"\n"})
	s.Spawn("app:alice", "app:bob")
	ports := map[string]bool{}
	for _, id := range []string{"app:alice", "app:bob"} {
		for _, kv := range s.Seen(id, "/").Env {
			if port, ok := strings.CutPrefix(kv, "PORT="); ok {
				ports[port] = true
			}
		}
	}
	if len(ports) != 1 {
		t.Errorf("ports: got %v, want the same for both", ports)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", appPID(t, s, "app:alice"))); err != nil || got == own {
		t.Errorf("network namespace: got %s %v, want another than %s", got, err, own)
	}
}

func TestWhatTheMachineCannotGiveIsAnError(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "memory_limit_mb = 64\n"})
	var checks []struct {
		Name string
		OK   bool
	}
	if r := s.Ten("doctor", "--json"); json.Unmarshal([]byte(r.Stdout), &checks) != nil {
		t.Fatalf("doctor: %s", r)
	}
	i := slices.IndexFunc(checks, func(c struct {
		Name string
		OK   bool
	}) bool {
		return c.Name == "memory_limit_mb"
	})
	if i < 0 {
		t.Fatalf("doctor says nothing of memory_limit_mb: %v", checks)
	}
	r := s.Ten("spawn", "app:alice")
	if checks[i].OK {
		if r.Code != 0 || s.Show("app:alice", "MemoryMax") != strconv.Itoa(64<<20) {
			t.Errorf("the machine has the controller: got %s and MemoryMax %s", r, s.Show("app:alice", "MemoryMax"))
		}
		return
	}
	if r.Code == 0 || !strings.Contains(r.Stderr, "memory_limit_mb") || !strings.Contains(r.Stderr, "hint:") {
		t.Errorf("spawn: got %s, want an error that names memory_limit_mb", r)
	}
	if got := len(s.List()); got != 0 {
		t.Errorf("instances: got %d, want nothing left behind", got)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "data/app/alice")); !os.IsNotExist(err) {
		t.Errorf("the data directory is left behind (%v)", err)
	}
}

func TestInitIsSmall(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	for range 200 {
		s.Text("app:alice", "/count")
	}
	pid, err := strconv.Atoi(s.Show("app:alice", "MainPID"))
	if err != nil {
		t.Fatal(err)
	}
	kib, err := strconv.Atoi(strings.TrimSuffix(status(t, pid, "RssAnon"), " kB"))
	if err != nil || kib > 1536 {
		t.Errorf("anonymous memory of ten-init: got %d KiB %v, want at most 1536", kib, err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Error(err)
	}
}
