package packaging

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenement.dev/test/machine"
)

// workshop is a Debian with what looks at packages.
var workshop = machine.Root{Packages: []string{"lintian", "rpm", "rpmlint"}}

// lintian and rpmlint find no errors.
func TestLint(t *testing.T) {
	b := boot(t, workshop)
	b.patience = 5 * time.Minute // lintian looks long at programs of this size
	repo, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	rc := b.bring(filepath.Join(repo, "packaging/lint/rpmlintrc"))
	deb, rpm := b.bring(built(t, oldVersion, "deb")), b.bring(built(t, oldVersion, "rpm"))
	out := b.sh("lintian --allow-root --fail-on none --tag-display-limit 0 " + deb)
	if strings.Contains("\n"+out, "\nE: ") {
		t.Errorf("lintian finds errors:\n%s", out)
	}
	out, err = b.try("rpmlint -r " + rc + " " + rpm)
	if err != nil || !strings.Contains(out, " 0 errors,") {
		t.Errorf("rpmlint finds errors (%v):\n%s", err, out)
	}
}
