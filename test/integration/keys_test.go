package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

// Keys of tenement.toml that no other test sees take effect in the program as a whole: most are taken from a value that is not
// the default to one that is, by a reload where that is enough.
func TestKeysTakeEffect(t *testing.T) {
	const service = app + `
isolation = "process"
user = "dev"
listen = "unix"
socket = "{data_dir}/{id}/own.sock"
error_pages = "pages"
access_log = "json"
access_log_query = true
`
	s := harness.New(t, harness.Options{
		Config: "[settings]\napi_domain = true\ndashboard = false\nmetrics_per_instance = false\nfast_path = false\n" + service,
	})
	if err := os.Mkdir(filepath.Join(s.Dir, "pages"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.WriteFile("pages/404.html", "own page of {{.Status}} for {{.Host}}")
	s.Run()
	s.Spawn("app:alice", "app:bob")
	if got, want := status(t, appPID(t, s, "app:alice"), "Uid"), "1000\t1000\t1000\t1000"; got != want {
		t.Errorf("user: got uids %q, want %q of dev", got, want)
	}
	if info, err := os.Stat(filepath.Join(s.Dir, "data/app/alice/own.sock")); err != nil || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("socket: got %v, %v, want the app to listen there", info, err)
	}
	if got := s.Fetch("nosuch.app.localhost", "/", "Accept", "text/html"); got.Status != 404 || got.Body != "own page of 404 for nosuch.app.localhost" {
		t.Errorf("error_pages: got %d %q", got.Status, got.Body)
	}
	line := s.Out.Watch(`"path":"/?secret=1"`)
	s.Fetch("app:alice", "/?secret=1")
	select {
	case <-line:
	case <-time.After(harness.Timeout):
		t.Errorf("access_log_query: no line has the query:\n%s", s.Out)
	}

	// net/http writes an answer's header in the order of the alphabet, the fast path as it came.
	sorted := func() bool {
		resp, err := answerHead(s)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Index(resp, "\nContent-Length:") < strings.Index(resp, "\nDate:")
	}
	if !sorted() {
		t.Error("fast_path = false: the answer came by the fast path")
	}
	perInstance := regexp.MustCompile(`(?m)^tenement_instance_wakes_total\{`)
	if got := perInstance.FindAllString(socketMetrics(t, s), -1); len(got) != 0 {
		t.Errorf("metrics_per_instance = false: got %v", got)
	}
	if got := s.Fetch("localhost", "/").Status; got != 404 {
		t.Errorf("dashboard = false: got %d at the base domain, want 404", got)
	}
	if got := s.Fetch("localhost", "/api/v1/openapi.json").Status; got != 200 {
		t.Errorf("dashboard = false: got %d for the API, want 200", got)
	}

	s.WriteFile("tenement.toml", "[settings]\napi_domain = true\nmetrics_max_instances = 1\nfast_path = false\n"+service)
	ok(t, s, "reload")
	if got := perInstance.FindAllString(socketMetrics(t, s), -1); len(got) != 1 {
		t.Errorf("metrics_max_instances = 1: got %v, want the series of one", got)
	}
	if got := s.Fetch("localhost", "/").Status; got != 303 {
		t.Errorf("dashboard by default: got %d at the base domain, want 303 to the page that asks for a token", got)
	}
	s.WriteFile("tenement.toml", service)
	s.Signal(syscall.SIGTERM)
	s.Run()
	if sorted() {
		t.Error("fast_path by default: the answer did not come by the fast path")
	}
	if got := s.Fetch("localhost", "/api/v1/openapi.json").Status; got != 404 {
		t.Errorf("api_domain by default: got %d for the API at the base domain, want 404", got)
	}
}

// answerHead is the head of an answer of alice's, as it is sent.
func answerHead(s *harness.Server) (string, error) {
	out, err := s.Command("curl", "-sS", "-D", "-", "-o", "/dev/null", "-H", "Host: alice.app.localhost", fmt.Sprintf("http://%s/", s.Addr())).Output()
	return string(out), err
}

// socketMetrics are the metrics at the API's socket.
func socketMetrics(t *testing.T, s *harness.Server) string {
	t.Helper()
	out, err := s.Command("curl", "-sS", "--unix-socket", "/run/tenement/api.sock", "http://tenement/metrics").Output()
	if err != nil || !strings.Contains(string(out), "tenement_build_info{") {
		t.Fatalf("metrics at the API's socket: got %v\n%.300s", err, out)
	}
	return string(out)
}
