package examples

import (
	"regexp"
	"strings"
	"testing"

	"tenement.dev/test/harness"
)

// testChecks has multi-runtime's script check copies that are not apart: it has to notice.
func testChecks(t *testing.T, s *harness.Server) {
	config := readConfig(t, "multi-runtime")
	s.WriteFile("tenement.toml", strings.ReplaceAll(config, "\nhealth = ", "\nisolation = \"process\"\nhealth = "))
	if r := s.Ten("reload"); r.Code != 0 {
		t.Fatalf("reload: %s", r)
	}
	out, err := s.Command("./check.py", "--service", "go").Output()
	if err == nil {
		t.Errorf("check.py at copies that are not apart: got exit code 0, want 1")
	}
	lines := regexp.MustCompile(`(?m)^FAIL.*$`).FindAllString(string(out), -1)
	for _, line := range lines {
		if !strings.Contains(line, " sees no") {
			t.Errorf("check.py at copies that are not apart: %s", line)
		}
	}
	// Customers, services, processes: of each of the two.
	if len(lines) != 3*2 {
		t.Errorf("check.py found %d faults, want %d:\n%s", len(lines), 3*2, out)
	}
	if list := s.List(); len(list) != 3 {
		t.Errorf("after check.py there are %d instances, want the three of the README", len(list))
	}
}
