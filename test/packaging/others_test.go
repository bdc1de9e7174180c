package packaging

import (
	"runtime"
	"strings"
	"testing"

	"tenement.dev/test/machine"
)

// On systemd 252, that of Debian 12, the package installs, and runs instances with what
// there is of isolation.
func TestBookworm(t *testing.T) {
	b := boot(t, machine.Root{Suite: "bookworm"})
	b.sh("dpkg -i " + b.bring(built(t, oldVersion, "deb")))
	if got := b.sh("systemctl --version"); !strings.HasPrefix(got, "systemd 252") {
		t.Fatalf("got %s, want systemd 252", got)
	}
	// What a unit has that is later than 252 is ignored, and said: the delay between two
	// starts then does not grow.
	verify := "systemd-analyze verify --man=no /usr/lib/systemd/system/tenement* 2>&1 || true"
	for line := range strings.Lines(b.sh(verify)) {
		if !strings.Contains(line, "Unknown key 'RestartSteps'") && !strings.Contains(line, "Unknown key 'RestartMaxDelaySec'") {
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
	b.sh("systemctl is-active tenement.socket tenement.service")
	b.app()
	if got := b.text("https://carol.hello.localhost/count"); got != "carol visit 1" {
		t.Errorf("got %q, want carol visit 1", got)
	}
	if got, _ := b.try("ten doctor"); !strings.Contains(got, "257") {
		t.Errorf("ten doctor: got\n%s\nwant it to tell of what needs systemd 257", got)
	}
	b.sh("dpkg --purge tenement")
}

// app configures an app, and spawns hello:carol.
func (b *box) app() {
	b.Helper()
	b.write("/srv/hello/app.py", app)
	b.certify("/etc/tenement/tls", "*.hello.localhost")
	b.write("/etc/tenement/tenement.toml", config)
	b.sh("systemctl restart tenement && ten spawn hello:carol")
}

// The .rpm with Debian's rpm: it installs, starts nothing unasked, upgrades under the
// daemon, and removes itself. What it depends on are rpm's packages, which Debian has not.
func TestRPM(t *testing.T) {
	b := boot(t, workshop)
	first, second := b.bring(built(t, oldVersion, "rpm")), b.bring(built(t, newVersion, "rpm"))
	if got := b.sh("rpm -qp --requires " + first); !strings.Contains(got, "systemd >= 252") {
		t.Errorf("rpm -q --requires: got\n%s\nwant systemd >= 252", got)
	}
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	if got, want := b.sh("rpm -qp --qf '%{ARCH} %{LICENSE}' "+first), arch+" Apache-2.0"; got != want {
		t.Errorf("rpm -q: got %q, want %q", got, want)
	}
	b.sh("rpm -i --nodeps " + first)
	b.sh("getent passwd tenement; systemctl enable --now tenement.socket tenement-keeper.socket tenement.service; systemctl is-active tenement.service")
	b.sh("rpm -qc tenement | grep -x /etc/tenement/tenement.toml")
	b.app()
	pid := b.sh("systemctl show -P MainPID tenement-hello@carol.service")
	b.sh("rpm -U --nodeps " + second)
	if got := b.sh("stat -c '%U:%G %a' /etc/tenement/tenement.toml"); got != "root:tenement 640" {
		t.Errorf("tenement.toml after rpm -U: got %s, want root:tenement 640", got)
	}
	if got := b.sh("ten version"); strings.Count(got, newVersion) != 2 {
		t.Errorf("after rpm -U: got %s, want the client and the daemon to be %s", got, newVersion)
	}
	if got := b.text("https://carol.hello.localhost/count"); got != "carol visit 1" {
		t.Errorf("got %q, want carol visit 1", got)
	}
	if got := b.sh("systemctl show -P MainPID tenement-hello@carol.service"); got != pid {
		t.Errorf("the instance over rpm -U: got process %s, want %s", got, pid)
	}
	b.sh("rpm -e --nodeps tenement")
	left := b.sh("systemctl list-units --no-legend 'tenement*' | cat; pgrep -af '[t]en-init|/usr/bin/[t]en' || true; ls /etc/systemd/system/*/tenement* 2>/dev/null || true")
	if left != "" {
		t.Errorf("after rpm -e there is still\n%s", left)
	}
	b.sh("test -e /var/lib/tenement/data/hello/carol/count")
}
