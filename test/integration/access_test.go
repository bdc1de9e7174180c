package integration

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

// accessEntries are the entries of the access log for an instance, the oldest first.
func accessEntries(t *testing.T, id string, want int) []map[string]string {
	t.Helper()
	for deadline := time.Now().Add(harness.Timeout); ; {
		out, err := exec.Command("journalctl", "-q", "-o", "json", "--no-pager", "SYSLOG_IDENTIFIER=tenement-access", "TENEMENT_INSTANCE="+id).Output()
		if err != nil {
			t.Fatalf("journalctl: %v", err)
		}
		var list []map[string]string
		for line := range strings.Lines(string(out)) {
			var e map[string]string
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			list = append(list, e)
		}
		if len(list) >= want || time.Now().After(deadline) {
			return list
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A request has its entry in the real journal, whose fields find it; a pause is a status
// like others there. Both outlast the daemon.
func TestAccessLogAndPause(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "access_log = true\n[service.lines]\ncommand = \"{bin}/testapp\"\naccess_log = \"json\"\n"})
	s.Spawn("app:logged", "lines:alice")
	ok(t, s, "stop", "app:logged")
	first := s.Fetch("app:logged", "/x?secret=1", "User-Agent", "me")
	ok(t, s, "stop", "app:logged")
	ok(t, s, "pause", "app:logged", "--message", "Back <soon>", "--for", "1h")
	if got := s.Fetch("app:logged", "/", "Accept", "text/html"); got.Status != 503 || !strings.Contains(got.Body, "Back &lt;soon&gt;") || got.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %s, want the message", got.Status, got.Body)
	}
	if got := s.Get("app:logged").State.String(); got != "asleep" {
		t.Errorf("got %s, want it asleep", got)
	}
	list := accessEntries(t, "app:logged", 2)
	if len(list) != 2 {
		t.Fatalf("got %d entries, want 2", len(list))
	}
	for name, want := range map[string]string{
		"TENEMENT_METHOD": "GET", "TENEMENT_PATH": "/x", "TENEMENT_STATUS": "200", "TENEMENT_SERVICE": "app", "TENEMENT_TENANT": "logged",
		"TENEMENT_WAKE": "cold", "TENEMENT_USER_AGENT": "me", "TENEMENT_REMOTE": "127.0.0.1", "TENEMENT_REQUEST_ID": first.Header.Get("X-Request-Id"),
		"PRIORITY": "6",
	} {
		if got := list[0][name]; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := list[1]; got["TENEMENT_STATUS"] != "503" || got["TENEMENT_ERROR"] != "paused" {
		t.Errorf("got %v, want the pause", got)
	}
	line := s.Out.Watch(`"instance":"lines:alice"`)
	s.Fetch("lines:alice", "/")
	select {
	case <-line:
	case <-time.After(harness.Timeout):
		t.Errorf("no line of JSON; standard output is %s", s.Out)
	}
	s.Signal(9)
	s.Run()
	if got := s.Fetch("app:logged", "/"); got.Status != 503 {
		t.Errorf("after a restart of the daemon: got %d, want 503", got.Status)
	}
	ok(t, s, "unpause", "app:logged")
	if got := s.Fetch("app:logged", "/"); got.Status != 200 {
		t.Errorf("at last: got %d, want 200", got.Status)
	}
}
