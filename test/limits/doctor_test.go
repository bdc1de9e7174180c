package limits

import (
	"encoding/json"
	"strings"
	"testing"

	"tenement.dev/test/harness"
)

// TestDoctorFindsTheLimits compares what `ten doctor` says with what is known of the
// virtual machine.
func TestDoctorFindsTheLimits(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: "[service.app]\ncommand = \"{bin}/testapp\"\n"})
	r := s.Ten("doctor", "--json")
	var checks []struct {
		Name, Detail string
		OK           bool
	}
	if err := json.Unmarshal([]byte(r.Stdout), &checks); err != nil {
		t.Fatalf("ten doctor --json: %v: %s", err, r)
	}
	found := map[string]bool{}
	for _, c := range checks {
		t.Logf("%v %s: %s", c.OK, c.Name, c.Detail)
		found[c.Name] = c.OK
	}
	for _, name := range []string{"memory_limit_mb", "cpu_shares", "tasks_max", "doze", "give memory back while dozing"} {
		if !found[name] {
			t.Errorf("%s: got no, want ok", name)
		}
	}
	// Its kernel has neither Landlock nor what the fence needs of nftables.
	for _, name := range []string{"a port of their own only", "others' ports", "abstract sockets"} {
		if ok, there := found[name]; ok || !there {
			t.Errorf("%s: got %t (listed: %t), want no", name, ok, there)
		}
	}
}

// Where the machine has no means for the fence, instances run without, and the daemon
// says so.
func TestWithoutFence(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: "[service.app]\ncommand = \"{bin}/testapp\"\n[service.own]\ncommand = \"{bin}/testapp\"\nnetwork = \"private\"\n"})
	eventually(t, "it says that app has no fence", func() bool { return strings.Contains(s.Log.String(), "not fenced") })
	for _, id := range []string{"app:alice", "own:bob"} {
		s.Spawn(id)
		if got := s.Text(id, "/count"); got != "1" {
			t.Errorf("%s: got count %q, want 1", id, got)
		}
	}
	if log := s.Log.String(); strings.Count(log, "not fenced") != 1 || !strings.Contains(log, "service=app") {
		t.Errorf("got log %s, want one warning, of app", log)
	}
}
