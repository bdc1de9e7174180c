package integration

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// The values of secrets, which must be nowhere but with the apps.
const (
	firstValue  = "hush-one-41d0"
	secondValue = "hush-two-77ae"
	sharedValue = "hush \"all\" 90cc"
	leak        = "hush"
)

func TestSecrets(t *testing.T) {
	for _, rootless := range []bool{false, true} {
		for _, level := range []string{"process", "namespace", "sandbox"} {
			if rootless && level == "sandbox" {
				continue // it is what the other two are together
			}
			name := level
			if rootless {
				name += "-rootless"
			}
			t.Run(name, func(t *testing.T) { secretsAt(t, level, rootless) })
		}
	}
}

func secretsAt(t *testing.T, level string, rootless bool) {
	network := "host"
	if level == "sandbox" {
		network = "private"
	}
	s := harness.Start(t, harness.Options{
		Rootless: rootless,
		Config:   "[service.app]\ncommand = \"{bin}/testapp\"\nidle_timeout = 600\nisolation = \"" + level + "\"\nnetwork = \"" + network + "\"\n",
		Files:    map[string]string{"one": firstValue, "two": secondValue, "all": sharedValue},
	})
	s.Spawn("app:alice")
	ok(t, s, "stop", "app:alice")
	ok(t, s, "secret", "set", "app:alice", "KEY", "--from-file", filepath.Join(s.Dir, "one"))
	ok(t, s, "secret", "set", "app", "SHARED", "--env", "--from-file", filepath.Join(s.Dir, "all"))
	s.Spawn("app:bob")
	file := func(id string) string { return filepath.Join(s.Text(id, "/env?name=CREDENTIALS_DIRECTORY"), "KEY") }
	of := file("app:alice")
	if got := s.Text("app:alice", "/read?path="+of); got != firstValue {
		t.Errorf("the file of KEY: got %q", got)
	}
	if got := s.Text("app:alice", "/env?name=SHARED"); got != sharedValue {
		t.Errorf("SHARED in the environment: got %q", got)
	}
	if got := s.Text("app:alice", "/env?name=KEY"); got != "" {
		t.Errorf("KEY in the environment: got %q, want none", got)
	}
	if got := s.Text("app:bob", "/env?name=SHARED"); got != sharedValue {
		t.Errorf("SHARED in the other's environment: got %q", got)
	}
	if level != "process" { // where both are the same user
		if r := s.Fetch("app:bob", "/read?path="+of); r.Status != 403 {
			t.Errorf("the other reads it: got %d %q", r.Status, r.Body)
		}
	}

	// With the next start there is the new value, and with the one after it none.
	r := s.Ten("secret", "set", "app:alice", "KEY", "--from-file", filepath.Join(s.Dir, "two"))
	if !strings.Contains(r.Stderr, "app:alice runs; it gets it with its next start: ten restart app:alice") {
		t.Errorf("got %s", r)
	}
	if got := s.Text("app:alice", "/read?path="+of); got != firstValue {
		t.Errorf("the value while it runs: got %q", got)
	}
	ok(t, s, "restart", "app:alice")
	if got := s.Text("app:alice", "/read?path="+file("app:alice")); got != secondValue {
		t.Errorf("the value after a restart: got %q", got)
	}
	nowhere(t, s, of)
	ok(t, s, "secret", "rm", "app:alice", "KEY")
	ok(t, s, "stop", "app:alice")
	if r := s.Fetch("app:alice", "/read?path="+of); r.Status != 403 {
		t.Errorf("after it was removed: got %d %q", r.Status, r.Body)
	}

	// The next of its name has none of its own.
	ok(t, s, "secret", "set", "app:bob", "KEY", "--from-file", filepath.Join(s.Dir, "one"))
	ok(t, s, "destroy", "app:bob", "--yes")
	s.Spawn("app:bob")
	s.Await("app:bob", tenant.Awake)
	if r := s.Fetch("app:bob", "/read?path="+file("app:bob")); r.Status != 403 {
		t.Errorf("after a destroy: got %d %q", r.Status, r.Body)
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir, "data/.secrets/app@*/*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// nowhere looks for the values where others look: in the units, the processes, the
// journal, the API's answers and the daemon's files.
func nowhere(t *testing.T, s *harness.Server, credential string) {
	t.Helper()
	for what, text := range map[string]string{
		"the unit":        s.Systemctl("show", "tenement-app@alice.service", "tenement-app@alice.socket"),
		"the unit's file": s.Systemctl("cat", "tenement-app@alice.service"),
		"the list":        s.Ten("secret", "ls", "app:alice", "--json").Stdout,
		"ten why":         s.Ten("why", "app:alice", "--json").Stdout,
		"ten ps":          s.Ten("ps", "--json").Stdout,
		"the events":      s.Ten("events", "--since", "1h", "--json").Stdout,
		"the daemon":      s.Log.String(),
	} {
		if strings.Contains(text, leak) {
			t.Errorf("%s has a value:\n%s", what, text)
		}
	}
	journal, err := exec.Command("journalctl", "-o", "export", "--no-pager", "-n", "5000").Output()
	if err != nil || len(journal) == 0 || strings.Contains(string(journal), leak) {
		t.Errorf("the journal: %d bytes, %v, or a value", len(journal), err)
	}
	lines, err := exec.Command("ps", "-eww", "-o", "args").Output()
	if err != nil || strings.Contains(string(lines), leak) {
		t.Errorf("the process list: %v, or a value:\n%s", err, lines)
	}
	given := map[string]bool{filepath.Join(s.Dir, "one"): true, filepath.Join(s.Dir, "two"): true, filepath.Join(s.Dir, "all"): true}
	var seen int
	_ = filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || given[path] {
			return nil
		}
		if text, err := os.ReadFile(path); err == nil {
			seen++
			if strings.Contains(string(text), leak) {
				t.Errorf("%s has a value", path)
			}
		}
		return nil
	})
	if seen < 2 {
		t.Errorf("looked into %d files below %s", seen, s.Dir)
	}
}
