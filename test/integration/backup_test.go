package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"tenement.dev/internal/archive"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// notebook is an app with a database that writes all the time: POST / adds a row, GET /
// counts them, GET /check has the database look at itself.
const notebook = `
import os, sqlite3, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

path = os.environ["DATA_DIR"] + "/notes.db"

def connect():
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    db.execute("PRAGMA synchronous=NORMAL")
    return db

db = connect()
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA wal_autocheckpoint=50")
db.execute("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT, size INT)")
db.execute("CREATE INDEX IF NOT EXISTS by_text ON notes (text)")

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def reply(self, text):
        body = str(text).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        db = connect()
        db.execute("INSERT INTO notes (text, size) VALUES (?, ?)", (text * 20, len(text)))
        db.close()
        self.reply("ok")
    def do_GET(self):
        db = connect()
        if self.path == "/check":
            self.reply(db.execute("PRAGMA integrity_check").fetchone()[0])
        else:
            self.reply(db.execute("SELECT count(*) FROM notes WHERE size > 0").fetchone()[0])
        db.close()
    def log_message(self, *args):
        pass

def scribble():
    db = connect()
    while True:
        db.execute("INSERT INTO notes (text, size) VALUES (hex(randomblob(300)), 0)")
        db.execute("DELETE FROM notes WHERE size = 0 AND id < (SELECT max(id) - 500 FROM notes)")
        time.sleep(0.002)

threading.Thread(target=scribble, daemon=True).start()
server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
server.daemon_threads = True
server.serve_forever()
`

// checker looks at databases, each in a directory of its own, and prints how many rows of
// visitors each has.
const checker = `
import sqlite3, sys
for dir in sys.argv[1:]:
    db = sqlite3.connect(dir + "/notes.db")
    result = db.execute("PRAGMA integrity_check").fetchone()[0]
    rows = db.execute("SELECT count(*) FROM notes WHERE size > 0").fetchone()[0]
    print(result, rows)
`

// backupOf takes a backup with the CLI.
func backupOf(t *testing.T, s *harness.Server, id, file string) tenant.Backup {
	t.Helper()
	r := s.Ten("backup", id, "-o", file, "--json")
	var b tenant.Backup
	if err := json.Unmarshal([]byte(r.Stdout), &b); err != nil || r.Code != 0 {
		t.Fatalf("backup: %s, %v", r, err)
	}
	return b
}

// unpackInto unpacks a backup without the daemon, which checks its checksums.
func unpackInto(t *testing.T, file, dir string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plain, err := archive.Decompress(f)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	b, all, err := archive.ReadManifest(plain)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	to, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	spool, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	if _, err := archive.Unpack(t.Context(), all, to, archive.Owner{}, tenant.Unpacking{Size: b.DataSize}, spool); err != nil {
		t.Fatal(err)
	}
}

// copiesLeft are the copies of data that a server has.
func copiesLeft(t *testing.T, s *harness.Server) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(s.Dir, "data/.copies/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// Each backup of a database that is written to all the time is one that it recovers from,
// with all that visitors were told is stored; and no visitor notices.
func TestBackupUnderLoad(t *testing.T) {
	s := harness.Start(t, harness.Options{
		Config: "[service.notes]\ncommand = \"/usr/bin/python3\"\nargs = [\"{bin}/notebook.py\"]\n",
	})
	if err := os.WriteFile("/opt/tenement-test/notebook.py", []byte(notebook), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Spawn("notes:alice")
	pid := appPID(t, s, "notes:alice")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stored, failed atomic.Int64
	var visitors sync.WaitGroup
	for range 6 {
		visitors.Go(func() {
			for ctx.Err() == nil {
				one, done := context.WithTimeout(t.Context(), harness.Timeout)
				resp, err := s.Do(one, http.MethodPost, "notes:alice", "/", "a note of a visitor")
				done()
				if err != nil || resp.Status != 200 {
					failed.Add(1)
					t.Errorf("POST: got %d %s, %v", resp.Status, resp.Body, err)
					return
				}
				stored.Add(1)
			}
		})
	}
	const backups = 20
	var frozen []float64
	var atLeast []int64
	var dirs []string
	for i := range backups {
		before := stored.Load()
		file := filepath.Join(s.Dir, fmt.Sprintf("%d.tar.zst", i))
		b := backupOf(t, s, "notes:alice", file)
		if b.State != tenant.Awake || b.FrozenMS == 0 {
			t.Errorf("got %+v, want that it was frozen", b)
		}
		frozen, atLeast = append(frozen, b.FrozenMS), append(atLeast, before)
		dir := filepath.Join(s.Dir, "unpacked", strconv.Itoa(i))
		unpackInto(t, file, dir)
		dirs = append(dirs, dir)
	}
	cancel()
	visitors.Wait()
	slices.Sort(frozen)
	t.Logf("%d requests, %d failed; frozen for %.1f ms at the median, %.1f ms at most, with a plain copy", stored.Load(), failed.Load(), frozen[backups/2], frozen[backups-1])
	if stored.Load() < backups {
		t.Errorf("got %d requests, which is no load", stored.Load())
	}
	out, err := exec.Command("/usr/bin/python3", append([]string{"-c", checker}, dirs...)...).CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) != backups {
		t.Fatalf("check: %v\n%s", err, out)
	}
	for i, line := range lines {
		result, rows, _ := strings.Cut(line, " ")
		if n, _ := strconv.ParseInt(rows, 10, 64); result != "ok" || n < atLeast[i] {
			t.Errorf("backup %d: got %q, want it ok with %d rows", i, line, atLeast[i])
		}
	}
	if got := appPID(t, s, "notes:alice"); got != pid {
		t.Errorf("process: got %d, want still %d", got, pid)
	}

	// Back in its own place, and in another's who has never run.
	rows := s.Text("notes:alice", "/")
	file := filepath.Join(s.Dir, "0.tar.zst")
	if r := s.Ten("restore", "notes:alice", file); r.Code == 0 || !strings.Contains(r.Stderr, "--force") {
		t.Errorf("restore over data: got %s", r)
	}
	r := s.Ten("restore", "notes:alice", file, "--force", "--keep-old", "--json")
	var done tenant.Restored
	if err := json.Unmarshal([]byte(r.Stdout), &done); err != nil || r.Code != 0 {
		t.Fatalf("restore: %s, %v", r, err)
	}
	ok(t, s, "import", file, "--as", "notes:bob", "--data-only")
	for _, id := range []string{"notes:alice", "notes:bob"} {
		if got := s.Text(id, "/check"); got != "ok" {
			t.Errorf("%s: got %q", id, got)
		}
		if got, _ := strconv.ParseInt(s.Text(id, "/"), 10, 64); got < atLeast[0] || fmt.Sprint(got) == rows {
			t.Errorf("%s: got %d rows, want those of the first backup", id, got)
		}
	}
	if _, err := os.Stat(filepath.Join(done.Kept, "notes.db")); err != nil {
		t.Errorf("what it had before: %v", err)
	}
	info, err := os.Stat(filepath.Join(s.Dir, "data/notes/bob/notes.db"))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid < 1000 {
		t.Errorf("bob's database belongs to %d", uid)
	}
	if left := copiesLeft(t, s); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// isFrozen reports whether an instance's app is.
func isFrozen(t *testing.T, s *harness.Server, id string) bool {
	t.Helper()
	events, err := os.ReadFile(filepath.Join(cgroupDir(t, s, id), "app/cgroup.events"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(events), "frozen 1")
}

// A client and a daemon that are killed in the middle of a copy leave an app that goes on,
// and nothing else: the daemon's next run removes what it had begun.
func TestKilledInTheMiddleOfABackup(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	s.Text("app:alice", "/count")
	pid := appPID(t, s, "app:alice")
	many := filepath.Join(s.Dir, "data/app/alice/many")
	if err := os.Mkdir(many, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 8_000 { // so that a copy takes a while
		if err := os.WriteFile(filepath.Join(many, strconv.Itoa(i)), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	begin := func() *exec.Cmd {
		t.Helper()
		file := filepath.Join(s.Dir, "alice.tar.zst")
		var cmd *exec.Cmd
		eventually(t, "it is frozen and copied", func() bool {
			if _, err := os.Stat(file); cmd != nil && err == nil { // nobody has looked in time
				if err := errors.Join(cmd.Wait(), os.Remove(file)); err != nil {
					t.Fatal(err)
				}
				cmd = nil
			}
			if cmd == nil {
				cmd = s.Command("ten", "backup", "app:alice", "-o", file)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
			}
			entries, _ := os.ReadDir(filepath.Join(s.Dir, "data/.copies/app@alice/snapshot"))
			return len(entries) > 0 && isFrozen(t, s, "app:alice")
		})
		return cmd
	}
	goesOn := func(want string) {
		t.Helper()
		eventually(t, "it goes on", func() bool { return !isFrozen(t, s, "app:alice") })
		if _, err := os.Stat(filepath.Join(s.Dir, "alice.tar.zst")); err == nil {
			t.Error("there is a backup that is not whole")
		}
		if want == "" {
			return
		}
		if got := s.Text("app:alice", "/count"); got != want {
			t.Errorf("got count %s, want %s of the same process", got, want)
		}
		eventually(t, "the copy is gone", func() bool { return len(copiesLeft(t, s)) == 0 })
	}
	cmd := begin()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	goesOn("2")

	cmd = begin()
	s.Signal(syscall.SIGKILL)
	if err := cmd.Wait(); err == nil {
		t.Error("the client took it for whole")
	}
	goesOn("")
	if left := copiesLeft(t, s); len(left) == 0 {
		t.Error("the daemon was not killed in the middle")
	}
	s.Run()
	goesOn("3")
	if got := appPID(t, s, "app:alice"); got != pid {
		t.Errorf("process: got %d, want still %d", got, pid)
	}

	ok(t, s, "stop", "app:alice")
	b := backupOf(t, s, "app:alice", filepath.Join(s.Dir, "asleep.tar.zst"))
	if b.State != tenant.Asleep || b.FrozenMS != 0 || b.Files < 8_000 {
		t.Errorf("got %+v", b)
	}
	if s.Get("app:alice").State != tenant.Asleep {
		t.Error("it was woken")
	}
	parts, _ := filepath.Glob(filepath.Join(s.Dir, ".*.part"))
	if len(parts) > 1 { // that of the client that was killed
		t.Errorf("left behind: %q", parts)
	}
}

// An instance moves to another server, whose daemon is an ordinary user's, with its data and
// what the registry has of it.
func TestMoveToAnotherServer(t *testing.T) {
	config := app + "\n[settings]\ndomain = \"localhost\"\n"
	first := harness.Start(t, harness.Options{Config: config})
	first.Spawn("app:alice", "app:bob")
	data := filepath.Join(first.Dir, "data/app/alice")
	for name, text := range map[string]string{"one": "1", "dir/two": "2"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(data, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(data, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(data, "outside")); err != nil {
		t.Fatal(err)
	}
	ok(t, first, "weight", "app:alice", "7")
	ok(t, first, "limit", "app:alice", "--storage", "77M")
	ok(t, first, "domain", "add", "app:alice", "alice.example.com")
	ok(t, first, "pause", "app:alice", "--message", "moving")
	file := filepath.Join(first.Dir, "alice.tar.zst")
	if r := first.Ten("export", "app:alice", "-o", file); r.Code != 0 || !strings.Contains(r.Stderr, "1 link leads out of its data") {
		t.Fatalf("export: %s", r)
	}
	for args, want := range map[string]string{
		"import " + file:                   "there is an instance app:alice already",
		"import " + file + " --as app:c":   "the host name alice.example.com belongs to app:alice",
		"import " + file + " --as other:c": "no service",
		"restore app:bob " + file:          `leads out of the data, to "/etc/hostname"`,
	} {
		if r := first.Ten(strings.Fields(args)...); r.Code == 0 || !strings.Contains(r.Stderr, want) || !strings.Contains(r.Stderr, "hint: ") {
			t.Errorf("%s: got %s, want %q", args, r, want)
		}
	}
	if got := len(first.List()); got != 2 {
		t.Errorf("got %d instances, want 2", got)
	}
	packed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ok(t, first, "destroy", "--yes", "app:alice", "app:bob")
	first.Signal(syscall.SIGTERM)

	second := harness.Start(t, harness.Options{Config: config, Rootless: true})
	run := func(stdin []byte, args ...string) (string, error) {
		cmd := second.Command(append([]string{"ten"}, args...)...)
		cmd.Stdin = bytes.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	damaged := bytes.Clone(packed)
	damaged[len(damaged)/2] ^= 1
	if out, err := run(damaged, "import", "-", "--outside-links"); err == nil || !strings.Contains(out, "damaged") && !strings.Contains(out, "checksum") {
		t.Errorf("damaged: got %s, %v", out, err)
	}
	if out, err := run(packed, "import", "-", "--outside-links"); err != nil || !strings.Contains(out, "app:alice is there, with the data of app:alice of ") {
		t.Fatalf("import: %s, %v", out, err)
	}
	if left := copiesLeft(t, second); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	got := second.Get("app:alice")
	if got.State != tenant.Asleep || got.Paused == nil || got.Paused.Message != "moving" {
		t.Errorf("got %+v", got)
	}
	if r := second.Ten("ps", "--json"); !strings.Contains(r.Stdout, `"weight": 7`) {
		t.Errorf("weight: %s", r)
	}
	if r := second.Ten("limit", "app:alice"); !strings.Contains(r.Stdout, "77M") {
		t.Errorf("limits: %s", r)
	}
	if r := second.Ten("domain", "ls"); !strings.Contains(r.Stdout, "alice.example.com") {
		t.Errorf("host names: %s", r)
	}
	ok(t, second, "unpause", "app:alice")
	if resp := second.Fetch("alice.example.com", "/count"); resp.Status != 200 {
		t.Errorf("at its own host name: got %d %s", resp.Status, resp.Body)
	}
	moved := filepath.Join(second.Dir, "data/app/alice")
	for name, want := range map[string]string{"one": "1", "dir/two": "2"} {
		text, err := os.ReadFile(filepath.Join(moved, name))
		info, serr := os.Stat(filepath.Join(moved, name))
		if err != nil || serr != nil || string(text) != want || info.Mode().Perm() != 0o640 || info.Sys().(*syscall.Stat_t).Uid != 1000 {
			t.Errorf("%s: got %q, %v, %v", name, text, info, err)
		}
	}
	if to, err := os.Readlink(filepath.Join(moved, "outside")); err != nil || to != "/etc/hostname" {
		t.Errorf("link: got %q, %v", to, err)
	}
}
