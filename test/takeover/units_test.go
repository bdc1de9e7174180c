package takeover

import (
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"tenement.dev/test/harness"
)

// The units say what systemd understands, and keep to themselves what they can.
func TestUnits(t *testing.T) {
	harness.Install(t)
	var verify strings.Builder
	cmd := exec.Command("systemd-analyze", "verify", "--man=no", "tenement.socket", "tenement.service", "tenement-keeper.socket", "tenement-keeper.service", "tenement-probe.service")
	cmd.Stdout, cmd.Stderr = &verify, &verify
	if err := cmd.Run(); err != nil || verify.Len() > 0 {
		t.Errorf("systemd-analyze verify: %v: %s", err, verify.String())
	}
	for unit, most := range map[string]float64{"tenement.service": 1.5, "tenement-keeper.service": 4, "tenement-probe.service": 5} {
		out, err := exec.Command("systemd-analyze", "security", "--no-pager", unit).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		found := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
		if found == nil {
			t.Fatalf("no level of %s: %s", unit, out)
		}
		level, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil || level > most {
			t.Errorf("%s: got level %s, want at most %.1f:\n%s", unit, found[1], most, out)
		}
		t.Logf("%s: %.1f", unit, level)
	}
}
