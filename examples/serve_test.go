package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// serveLine is how each README runs the daemon.
const serveLine = "ten serve --port 8080 --domain localhost"

// example is what a folder is to the tests.
type example struct {
	folder string
	id     string // an instance that its README has spawned
	path   string // what is asked of it
	doze   string // has to be in the answer after a doze
	wake   string // and after sleep
	more   func(t *testing.T, s *harness.Server)
}

var all = []example{
	{folder: "hello-world", id: "hello:alice", path: "/", doze: "hello from alice", wake: "hello from alice"},
	{folder: "multi-tenant", id: "notes:alice", path: "/notes", doze: "hello from alice", wake: "hello from alice"},
	{folder: "go-http", id: "web:alice", path: "/count", doze: `{"count":2}`, wake: `{"count":1}`},
	{folder: "node", id: "node:bob", path: "/count", doze: `{"count":2}`, wake: `{"count":1}`},
	{folder: "python-fastapi", id: "fastapi:bob", path: "/count", doze: `{"count":2}`, wake: `{"count":1}`},
	{folder: "node-fastify", id: "fastify:bob", path: "/count", doze: `{"count":2}`, wake: `{"count":1}`},
	{folder: "auth-test", id: "auth:alice", path: "/headers", doze: `"Host"`, wake: `"Host"`, more: testAuth},
	{folder: "socket-activated", id: "fd:alice", path: "/", doze: `{"visit": 3,`, wake: `{"visit": 1,`},
	{folder: "multi-runtime", id: "python:alice", path: "/health", doze: `"ok"`, wake: `"ok"`, more: testChecks},
	{folder: "websocket-chat", id: "chat:alice", path: "/messages", doze: "wake up", wake: "wake up", more: testChat},
}

// TestExamples does what each README says, word for word, as an ordinary user. Then it lets an instance doze, asks it, lets
// it sleep and asks it again.
func TestExamples(t *testing.T) {
	configs, err := filepath.Glob("*/tenement.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range configs {
		folder := filepath.Dir(path)
		i := slices.IndexFunc(all, func(e example) bool { return e.folder == folder })
		if i < 0 {
			t.Errorf("%s is no example that this test runs", folder)
			continue
		}
		t.Run(folder, all[i].test)
	}
}

func (e example) test(t *testing.T) {
	s := e.follow(t)
	if e.more != nil {
		e.more(t, s)
	}
	// What is in memory stays in a doze, and the request that comes then is answered.
	e.rest(t, s, "doze_timeout = \"300ms\"\n")
	s.Await(e.id, tenant.Dozing)
	before := s.Get(e.id)
	if got := s.Text(e.id, e.path); !strings.Contains(got, e.doze) {
		t.Errorf("GET %s after a doze: got %q, want %q in it", e.path, got, e.doze)
	}
	if got := s.Get(e.id); got.Thaws != before.Thaws+1 || got.Wakes != before.Wakes {
		t.Errorf("a request to the dozing instance: got %d thaws and %d wakes, had %d and %d", got.Thaws, got.Wakes, before.Thaws, before.Wakes)
	}
	e.rest(t, s, "idle_timeout = \"300ms\"\n")
	s.Await(e.id, tenant.Asleep)
	before = s.Get(e.id)
	if got := s.Text(e.id, e.path); !strings.Contains(got, e.wake) {
		t.Errorf("GET %s after sleep: got %q, want %q in it", e.path, got, e.wake)
	}
	if got := s.Get(e.id).Wakes; got != before.Wakes+1 {
		t.Errorf("wakes: got %d, want %d", got, before.Wakes+1)
	}
}

// follow does what the README says, in a copy of the example's folder.
func (e example) follow(t *testing.T) *harness.Server {
	t.Helper()
	config := readConfig(t, e.folder)
	from, err := built(e.folder)
	if err != nil {
		t.Fatal(err)
	}
	s := harness.New(t, harness.Options{Config: config, Rootless: true})
	if err := copyTree(from, s.Dir); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "chown", "-R", "dev:", s.Dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.WriteFile("tenement.toml", config)
	s.Port = 8080
	blocks, err := harness.Blocks(filepath.Join(e.folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var last string // what the last commands printed
	for _, b := range blocks {
		switch {
		case b.Language == "output" && !like(last, b.Text):
			t.Errorf("the commands printed\n%s\nwant\n%s", last, b.Text)
		case b.Language != "sh" || b.Kind == buildKind:
		case b.Kind == "serve" && b.Text == serveLine:
			s.Run()
		case b.Kind == "":
			out, err := s.Command("/bin/sh", "-e", "-c", b.Text).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, b.Text, out)
			}
			last = string(out)
		default:
			t.Fatalf("nobody knows what this block is: %s %q: %s", b.Language, b.Kind, b.Text)
		}
	}
	return s
}

func readConfig(t *testing.T, folder string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "tenement.toml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rest has all services rest after the given time instead of their own.
func (e example) rest(t *testing.T, s *harness.Server, timeout string) {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(readConfig(t, e.folder)) {
		switch key, _, _ := strings.Cut(line, " "); key {
		case "doze_timeout":
		case "idle_timeout":
			out.WriteString(timeout)
		default:
			out.WriteString(line)
		}
	}
	s.WriteFile("tenement.toml", out.String())
	if r := s.Ten("reload"); r.Code != 0 {
		t.Fatalf("reload: %s", r)
	}
}
