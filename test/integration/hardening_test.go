package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tenement.dev/test/harness"
)

// late is an app that listens when it is told to.
const late = `
import os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class H(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = ("mine " + os.environ["PORT"]).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
open(os.environ["DATA_DIR"] + "/started", "w").close()
while not os.path.exists(os.environ["DATA_DIR"] + "/go"): time.sleep(0.01)
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
`

// Anybody on the machine may bind the port of an app that is about to: what arrives
// there is never a visitor.
func TestPortStolenDuringTheStart(t *testing.T) {
	s := harness.Start(t, harness.Options{
		Config: "[settings]\nport_range = \"31100-31120\"\n[service.app]\ncommand = \"python3 late.py\"\n",
		Files:  map[string]string{"late.py": late},
	})
	started, listen := filepath.Join(s.Dir, "data/app/alice/started"), filepath.Join(s.Dir, "data/app/alice/go")
	awaitStart := func() {
		t.Helper()
		eventually(t, "the app has been started", func() bool { _, err := os.Stat(started); return err == nil })
	}
	tell := func() {
		t.Helper()
		if err := os.WriteFile(listen, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	spawned := make(chan harness.Result, 1)
	go func() { spawned <- s.Ten("spawn", "app:alice") }()
	awaitStart()
	tell()
	if r := <-spawned; r.Code != 0 {
		t.Fatalf("spawn: %s", r)
	}
	for _, address := range []string{"127.0.0.1", "0.0.0.0", "::1"} {
		t.Run(address, func(t *testing.T) {
			port := s.Get("app:alice").Port
			if r := s.Ten("stop", "app:alice"); r.Code != 0 {
				t.Fatalf("stop: %s", r)
			}
			if err := errors.Join(os.Remove(started), os.Remove(listen)); err != nil {
				t.Fatal(err)
			}
			answer := make(chan harness.Response, 1)
			go func() {
				resp, err := s.Do(t.Context(), "GET", "app:alice", "/", "")
				if err != nil {
					resp.Body = err.Error()
				}
				answer <- resp
			}()
			awaitStart()
			squatter := s.Command("/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
				"python3", "-m", "http.server", strconv.Itoa(port), "--bind", address)
			if err := squatter.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = squatter.Process.Kill(); _ = squatter.Wait() }()
			eventually(t, "the port is stolen", func() bool {
				conn, err := net.Dial("tcp", net.JoinHostPort(strings.Replace(address, "0.0.0.0", "127.0.0.1", 1), strconv.Itoa(port)))
				if err != nil {
					return false
				}
				conn.Close()
				return true
			})
			tell()

			if resp := <-answer; resp.Status != 200 || !strings.HasPrefix(resp.Body, "mine ") {
				t.Errorf("the visitor who waited: got %d %q, want the app's own answer", resp.Status, resp.Body)
			}
			moved := s.Get("app:alice").Port
			for range 5 {
				if got, want := s.Text("app:alice", "/"), fmt.Sprint("mine ", moved); got != want {
					t.Errorf("a later visitor: got %q, want %q", got, want)
				}
			}
			if moved == port {
				t.Errorf("the app is still on port %d", port)
			}
		})
	}
}

// spy tries to learn of another instance what is nobody else's business.
const spy = `
import json, os, socket, subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
def attempt(f):
    try:
        return "done: %s" % f()
    except Exception as e:
        return "refused: %s" % e
def connect(path):
    s = socket.socket(socket.AF_UNIX); s.connect(path)
def show(*args):
    return subprocess.run(["systemctl", *args, "show", "-p", "Environment", "tenement-app@bob.service"], check=True, capture_output=True, text=True).stdout
def findings():
    run = "/run/user/%d" % os.getuid()
    found = {}
    for dir in "/run/systemd/transient", run + "/systemd/transient", "/run/user/1000/systemd/transient":
        found["list " + dir] = attempt(lambda: os.listdir(dir))
        found["read " + dir] = attempt(lambda: open(dir + "/tenement-app@bob.service").read())
    for path in "/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket", "/run/systemd/private", "/run/systemd/io.systemd.Manager", "/run/user/1000/bus", "/run/user/1000/systemd/private":
        found["connect " + path] = attempt(lambda: connect(path))
    found["systemctl show"] = attempt(lambda: show())
    found["systemctl --user show"] = attempt(lambda: show("--user"))
    return found
class H(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps(findings()).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
`

func TestEnvironmentOfOthersIsHidden(t *testing.T) {
	for name, rootless := range map[string]bool{"root": false, "rootless": true} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, harness.Options{
				Config:   "[service.app]\ncommand = \"python3 spy.py\"\n[service.app.env]\nSECRET = \"of {id}\"\n",
				Files:    map[string]string{"spy.py": spy},
				Rootless: rootless,
			})
			s.Spawn("app:alice", "app:bob")
			// Outside it is there to be found.
			if got := s.Show("app:bob", "Environment"); !strings.Contains(got, "of bob") {
				t.Fatalf("the environment of bob's unit: got %q, want the secret", got)
			}
			dir := "/run/systemd/transient"
			if rootless {
				dir = "/run/user/1000/systemd/transient"
			}
			if text, err := os.ReadFile(dir + "/tenement-app@bob.service"); err != nil || !strings.Contains(string(text), "of bob") {
				t.Fatalf("bob's unit file: got %q, %v, want the secret", text, err)
			}
			var found map[string]string
			if text := s.Text("app:alice", "/"); json.Unmarshal([]byte(text), &found) != nil || len(found) < 10 {
				t.Fatalf("got %s", text)
			}
			for what, result := range found {
				if !strings.HasPrefix(result, "refused: ") || strings.Contains(result, "of bob") {
					t.Errorf("%s: got %q, want it refused", what, result)
				}
			}
		})
	}
}

func TestDoctorBesideAStartingDaemon(t *testing.T) {
	s := harness.New(t, harness.Options{Config: app})
	if err := os.MkdirAll("/run/tenement", 0o711); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile("/run/tenement/lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	// As a daemon does before its socket is there.
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	if r := s.Ten("doctor"); r.Code == 0 || !strings.Contains(r.Stderr, "daemon is starting") || !strings.Contains(r.Stderr, "hint:") {
		t.Errorf("doctor beside a starting daemon: got %s, want it to say so", r)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if r := s.Ten("doctor"); r.Code != 0 || !strings.Contains(r.Stdout, `ok  isolation = "namespace"`) {
		t.Errorf("doctor alone: got %s", r)
	}
	if left, _ := filepath.Glob("/run/tenement-doctor*"); len(left) > 0 {
		t.Errorf("doctor has left %v behind", left)
	}
	s.Run()
	s.Spawn("app:alice")
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("got count %s, want 1", got)
	}
}

// The sandbox hides people's homes, and says so before a start.
func TestHiddenProgram(t *testing.T) {
	s := harness.New(t, harness.Options{Config: app})
	program := "/home/dev/hidden-app"
	testapp, err := harness.Bin("testapp")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(testapp)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(program)
	s.WriteFile("tenement.toml", fmt.Sprintf("[service.app]\ncommand = %q\n[service.shown]\ncommand = %q\nbind_read_only_paths = [%q]\n", program, program, program))
	s.Run()
	r := s.Ten("spawn", "app:alice")
	if r.Code == 0 || !strings.Contains(r.Stderr, program) || !strings.Contains(r.Stderr, "bind_read_only_paths") {
		t.Errorf("spawn: got %s, want an error that names the program and the setting", r)
	}
	s.Spawn("shown:alice")
	if got := s.Text("shown:alice", "/count"); got != "1" {
		t.Errorf("got count %s, want 1", got)
	}
}
