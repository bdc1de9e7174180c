package limits

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

// greedy is an app that takes what it is told to take. With a number as its argument it
// allocates as many MiB before it listens.
const greedy = `
import os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit, parse_qs

kept, count = [], 0

def allocate(mb):
    for _ in range(mb):
        kept.append(os.urandom(65536) * 16)

def burn():
    while True:
        pass

def fork_bomb():
    made = 0
    while made < 1000:
        try:
            # Not by fork: user-mode Linux 6.12 can panic where one is refused that shares no memory.
            os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
        except BlockingIOError:
            break
        made += 1
    return made

class H(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        global count
        url = urlsplit(self.path)
        q = {k: v[0] for k, v in parse_qs(url.query).items()}
        body = "ok"
        if url.path == "/count":
            count += 1
            body = "%d %d" % (os.getpid(), count)
        elif url.path == "/allocate":
            allocate(int(q["mb"]))
        elif url.path == "/write":
            with open(os.environ["DATA_DIR"] + "/file", "wb") as f:
                for _ in range(int(q["mb"])):
                    f.write(os.urandom(1 << 20))
                f.flush()
                os.fsync(f.fileno())
        elif url.path == "/sum":
            body = str(sum(len(b) for b in kept)) + " " + str(hash(tuple(kept)))
        elif url.path == "/burn":
            threading.Thread(target=burn, daemon=True).start()
        elif url.path == "/fork-bomb":
            body = str(fork_bomb())
        body = body.encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *args):
        pass

if len(sys.argv) > 1:
    allocate(int(sys.argv[1]))
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
`

// start runs a server whose services, by name, have these lines besides the command.
func start(t *testing.T, services map[string]string) *harness.Server {
	t.Helper()
	return harness.Start(t, options(services))
}

// options are those of such a server.
func options(services map[string]string) harness.Options {
	var config strings.Builder
	for name, lines := range services {
		fmt.Fprintf(&config, "[service.%s]\ncommand = \"python3 greedy.py\"\n%s\n", name, lines)
	}
	return harness.Options{Config: config.String(), Files: map[string]string{"greedy.py": greedy}}
}

// post asks an app for something that it does once: a GET whose connection the app drops
// would be made again.
func post(t *testing.T, s *harness.Server, id, path string) harness.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Timeout)
	defer cancel()
	resp, err := s.Do(ctx, http.MethodPost, id, path, "")
	if err != nil {
		t.Fatalf("POST %s%s: %v", harness.Host(id), path, err)
	}
	return resp
}

// stay keeps an instance from dozing, until leave.
func stay(t *testing.T, s *harness.Server, id string) {
	t.Helper()
	if r := s.Ten("keep-awake", id, "1h"); r.Code != 0 {
		t.Fatal(r)
	}
}

func leave(t *testing.T, s *harness.Server, id string) {
	t.Helper()
	if r := s.Ten("keep-awake", "--revoke", id); r.Code != 0 {
		t.Fatal(r)
	}
}

// cgroupFile reads a file of the cgroup of an instance's unit.
func cgroupFile(t *testing.T, s *harness.Server, id, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", s.Show(id, "ControlGroup"), name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// cgroupNumber reads a number there.
func cgroupNumber(t *testing.T, s *harness.Server, id, name string) int64 {
	t.Helper()
	return number(t, cgroupFile(t, s, id, name))
}

// cgroupStat reads one line of a file of "key value" lines there.
func cgroupStat(t *testing.T, s *harness.Server, id, name, key string) int64 {
	t.Helper()
	for line := range strings.Lines(cgroupFile(t, s, id, name)) {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			return number(t, strings.TrimSpace(value))
		}
	}
	t.Fatalf("%s of %s has no %s", name, id, key)
	return 0
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// eventually waits until ok says so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(harness.Timeout); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", harness.Timeout, what)
		}
	}
}
