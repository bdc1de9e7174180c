package limits

import (
	"encoding/json"
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
}
