package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

func TestStopEndsTheWholeTree(t *testing.T) {
	for _, isolation := range []string{"process", "namespace", "sandbox"} {
		t.Run(isolation, func(t *testing.T) {
			s := harness.Start(t, harness.Options{
				Config: "[service.app]\ncommand = \"bash app.sh\"\nstop_grace = 2\nisolation = \"" + isolation + "\"\n",
				Files: map[string]string{"app.sh": `
trap 'echo trapped >> "$DATA_DIR/marks"; kill $server; exit 0' TERM
setsid sleep 1000 &
(trap '' TERM; while :; do sleep 1; done) &
python3 -m http.server "$PORT" --bind 127.0.0.1 &
server=$!
wait
`}})
			s.Spawn("app:alice")
			pids := appPIDs(t, s, "app:alice")
			if len(pids) < 4 {
				t.Fatalf("processes: got %v, want the script and its children", pids)
			}
			if r := s.Ten("stop", "app:alice"); r.Code != 0 {
				t.Fatal(r)
			}
			if got := s.Show("app:alice", "Result"); got != "success" { // systemd would say timeout
				t.Errorf("result of the stop: got %s, want success within stop_grace", got)
			}
			for _, pid := range pids {
				if alive(pid) {
					t.Errorf("process %d survives the stop", pid)
				}
			}
			marks, err := os.ReadFile(filepath.Join(s.Dir, "data/app/alice/marks"))
			if err != nil || string(marks) != "trapped\n" {
				t.Errorf("trap handler: got %q %v, want it to have run once", marks, err)
			}
		})
	}
}

func TestStopIsGracefulThenFirm(t *testing.T) {
	for _, isolation := range []string{"namespace", "sandbox"} {
		t.Run(isolation, func(t *testing.T) { stopIsGracefulThenFirm(t, "isolation = \""+isolation+"\"\n") })
	}
}

func stopIsGracefulThenFirm(t *testing.T, isolation string) {
	s := harness.Start(t, harness.Options{
		Config: app + isolation + `
[service.stubborn]
command = "python3 stubborn.py"
stop_grace = 1
` + isolation,
		Files: map[string]string{"stubborn.py": `
import os, signal, socket
signal.signal(signal.SIGTERM, signal.SIG_IGN)
l = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
while True:
    l.accept()[0].close()
`}})
	s.Spawn("app:alice", "stubborn:alice")
	s.Ten("stop", "app:alice")
	marks, err := os.ReadFile(filepath.Join(s.Dir, "data/app/alice/marks"))
	if err != nil || string(marks) != "term\n" {
		t.Errorf("SIGTERM handler: got %q %v, want it to have run once", marks, err)
	}
	pid := appPIDs(t, s, "stubborn:alice")[0]
	begun := time.Now()
	if r := s.Ten("stop", "stubborn:alice"); r.Code != 0 {
		t.Error(r)
	}
	if took, result := time.Since(begun), s.Show("stubborn:alice", "Result"); took < time.Second || result != "success" || alive(pid) {
		t.Errorf("stop of an app that ignores SIGTERM: took %v, result %s, alive %v; want it killed after 1 s, and not by systemd", took, result, alive(pid))
	}
}

// What serves may be the child of a shell, which SIGTERM ends at once: the grace is for both.
func TestStopBehindShell(t *testing.T) {
	for _, isolation := range []string{"process", "namespace", "sandbox"} {
		t.Run(isolation, func(t *testing.T) {
			s := harness.Start(t, harness.Options{
				Config: "[service.app]\ncommand = \"sh run.sh\"\nstop_grace = 5\nisolation = \"" + isolation + "\"\n",
				Files: map[string]string{"run.sh": "python3 serve.py\necho never\n", "serve.py": `
import http.server, os, signal, time
def end(*_):
    time.sleep(1)
    with open(os.environ["DATA_DIR"] + "/marks", "a") as f:
        f.write("tidied\n")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), http.server.SimpleHTTPRequestHandler).serve_forever()
`}})
			s.Spawn("app:alice")
			begun := time.Now()
			if r := s.Ten("stop", "app:alice"); r.Code != 0 {
				t.Fatal(r)
			}
			if got := marks(s, "app"); got != "tidied\n" {
				t.Errorf("what serves was not let end within stop_grace: it has left %q", got)
			}
			if took, result := time.Since(begun), s.Show("app:alice", "Result"); took > 5*time.Second || result != "success" {
				t.Errorf("the stop took %v, with the result %s; want the time of what serves", took, result)
			}
		})
	}
}

// What nobody else collects, ten-init does: an app that begins things and forgets them
// leaves no zombies.
func TestOrphansAreCollected(t *testing.T) {
	for _, isolation := range []string{"process", "namespace", "sandbox"} {
		t.Run(isolation, func(t *testing.T) {
			s := harness.Start(t, harness.Options{
				Config: "[service.app]\ncommand = \"python3 serve.py\"\nisolation = \"" + isolation + "\"\n",
				Files: map[string]string{"serve.py": `
import http.server, os, subprocess
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        subprocess.run(["sh", "-c", "sleep 0.1 &"])
        own, states = os.getuid(), []
        for p in os.listdir("/proc"):
            try:
                if p.isdigit() and os.stat("/proc/" + p).st_uid == own:
                    states.append(open("/proc/%s/stat" % p).read().rsplit(")", 1)[1].split()[0])
            except OSError: pass
        self.send_response(200); self.end_headers(); self.wfile.write(b"%d" % states.count("Z"))
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
`}})
			s.Spawn("app:alice")
			for range 5 {
				s.Text("app:alice", "/")
			}
			eventually(t, "no zombie is there", func() bool { return s.Text("app:alice", "/") == "0" })
		})
	}
}

func TestStorage(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "idle_timeout = 1\n" + `
[service.tmp]
command = "{bin}/testapp"
storage_persist = false
idle_timeout = 1
`})
	s.Spawn("app:alice", "tmp:alice")
	for _, id := range []string{"app:alice", "tmp:alice"} {
		s.Text(id, "/write?path="+dataFile(s, id))
		// Neither sleep nor a crash removes anything.
		s.Await(id, tenant.Asleep)
		s.Text(id, "/read?path="+dataFile(s, id))
		s.Fetch(id, "/exit?code=1")
		if got := s.Text(id, "/read?path="+dataFile(s, id)); got != "x" {
			t.Errorf("%s: data after sleep and crash: got %q", id, got)
		}
		if r := s.Ten("stop", id); r.Code != 0 {
			t.Error(r)
		}
	}
	if _, err := os.Stat(dataFile(s, "app:alice")); err != nil {
		t.Errorf("storage_persist = true: %v", err)
	}
	if _, err := os.Stat(dataFile(s, "tmp:alice")); !os.IsNotExist(err) {
		t.Errorf("storage_persist = false: the file is there after a stop (%v)", err)
	}
	if got := s.Text("tmp:alice", "/count"); got != "1" {
		t.Errorf("wake after the data was removed: got count %s", got)
	}
	if r := s.Ten("destroy", "--yes", "app:alice"); r.Code != 0 {
		t.Error(r)
	}
	if _, err := os.Stat(filepath.Dir(dataFile(s, "app:alice"))); !os.IsNotExist(err) {
		t.Errorf("destroy leaves the data directory (%v)", err)
	}
	if got := s.Fetch("app:alice", "/").Status; got != 404 {
		t.Errorf("a destroyed instance answers %d, want 404", got)
	}
}

// dataFile is a file in an instance's data directory.
func dataFile(s *harness.Server, id string) string {
	return filepath.Join(s.Dir, "data", strings.ReplaceAll(id, ":", "/"), "file")
}

func TestStoppedInstanceIsWokenByItsNextRequest(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	// Requests that meet a stopping instance wait and wake it.
	done := make(chan struct{})
	answered := make(chan struct{})
	go func() {
		defer close(done)
		for range 5 {
			s.Ten("stop", "app:alice")
			select {
			case <-answered: // one at least after each
			case <-time.After(harness.Timeout):
				t.Error("no request is answered after a stop")
			}
		}
	}()
	for {
		// A stop lets what is in flight end.
		if resp := s.Fetch("app:alice", "/count"); resp.Status != 200 {
			t.Errorf("got %d %s", resp.Status, resp.Body)
		}
		select {
		case answered <- struct{}{}:
		case <-done:
			if got := s.Fetch("app:alice", "/count").Status; got != 200 {
				t.Errorf("after the last stop: got %d, want 200", got)
			}
			return
		default:
		}
	}
}
