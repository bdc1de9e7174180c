package packaging

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tenement.dev/test/harness"
	"tenement.dev/test/machine"
)

// docs/production.md is followed word for word, from a clean machine to a clean machine.
func TestProduction(t *testing.T) {
	repo, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := harness.Blocks(filepath.Join(repo, "docs/production.md"))
	if err != nil {
		t.Fatal(err)
	}
	b := boot(t, machine.Root{})
	before := b.listing()
	first, second := b.bring(built(t, oldVersion, "deb")), b.bring(built(t, newVersion, "deb"))
	b.sh("mkdir /root/here && cp " + first + " /root/here")
	ran := 0
	for _, block := range blocks {
		if block.Language != "sh" {
			continue
		}
		switch {
		case strings.HasPrefix(block.Text, "chown"): // the certificate that the reader has
			b.certify("/etc/tenement/notes", "*.notes.example.com")
		case strings.Contains(block.Text, "ten version"): // the new package
			b.sh("rm /root/here/*.deb && cp " + second + " /root/here")
		case strings.HasPrefix(block.Text, "./ten install"):
			b.clean(before)
			b.unpack(second, "/root/here")
		}
		out := b.sh("cd /root/here; export CURL_CA_BUNDLE=/etc/tenement/notes.crt\n" + block.Text)
		switch {
		case strings.Contains(block.Text, "curl"):
			if !strings.HasSuffix(out, "visit 1") || !strings.Contains(out, "notes:alice") {
				t.Errorf("got\n%s\nwant notes:alice and visit 1", out)
			}
		case strings.Contains(block.Text, "ten version"):
			if strings.Count(out, newVersion+" ") < 2 {
				t.Errorf("got\n%s\nwant the client and the daemon to be %s", out, newVersion)
			}
		case strings.HasPrefix(block.Text, "./ten install"):
			b.installed()
		case strings.HasPrefix(block.Text, "ten uninstall"):
			b.quiet(out)
		case strings.Contains(block.Text, "apt-get purge"):
			b.sh("rm -rf /etc/tenement /srv/notes") // the reader's own
		}
		ran++
	}
	if ran != 9 {
		t.Errorf("production.md has %d blocks that were run, want 9", ran)
	}
	b.clean(before)
	b.unpack(second, "/root/here")
	b.fromTheApp()
	b.clean(before)
}

// fromTheApp installs from the directory of an app: its services come along, with their paths.
func (b *box) fromTheApp() {
	b.Helper()
	b.sh(`mkdir /opt/myapp && cd /opt/myapp && cat >app.py <<'END'
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello from %s in %s\n" % (os.environ["TENEMENT_INSTANCE"].encode(), os.getcwd().encode()))
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Hello).serve_forever()
END
/root/here/ten init --name myapp --command "python3 app.py"
/root/here/ten install --domain app.example.com --caddy --dns-provider cloudflare`)
	b.sh("grep -F '*.myapp.app.example.com' /etc/caddy/Caddyfile")
	b.sh("ten spawn myapp:customer1 && ten spawn myapp:customer2")
	if got, want := b.sh("ten ps --json | grep '\"url\"' | sort | xargs"), "url: https://customer1.myapp.app.example.com, url: https://customer2.myapp.app.example.com,"; got != want {
		b.Errorf("ten ps: got %s, want %s", got, want)
	}
	if got, want := b.sh("curl -fsS -H 'Host: customer1.myapp.app.example.com' http://127.0.0.1:8080/"), "hello from customer1 in /opt/myapp"; got != want {
		b.Errorf("got %q, want %q", got, want)
	}
	b.quiet(b.sh("ten uninstall --purge; rm -r /opt/myapp"))
}

// clean says what is not as it was before Tenement.
func (b *box) clean(before []string) {
	b.Helper()
	if got := b.listing(); !slices.Equal(got, before) {
		b.Errorf("a purge has left or taken:\n%s", strings.Join(difference(before, got), "\n"))
	}
}

// unpack puts the programs of a package into a directory.
func (b *box) unpack(deb, dir string) {
	b.Helper()
	b.sh("rm -f " + dir + "/*; t=$(mktemp -d); dpkg-deb -x " + deb + " $t; cp $t/usr/bin/ten $t/usr/lib/tenement/ten-init " + dir + "; rm -r $t")
}

// installed looks at an installation of `ten install`: it can be done again, also behind
// Caddy, and refuses what is somebody else's.
func (b *box) installed() {
	b.Helper()
	if got := b.sh("cd /root/here; ./ten install --domain example.com"); !strings.Contains(got, "all files are there already") {
		b.Errorf("ten install again: got %s, want no change", got)
	}
	if got := b.sh("ten version | tail -1"); !strings.Contains(got, newVersion) {
		b.Errorf("ten version: got %s, want the daemon to be %s", got, newVersion)
	}
	if got := b.sh("cd /root/here; ./ten install --domain example.com --dry-run"); !strings.Contains(got, "also    restart tenement.service") {
		b.Errorf("ten install --dry-run: got %s, want it to say what it does beside the files", got)
	}
	// Debian's Caddy has brought a Caddyfile, which is not refused until somebody changes it.
	b.sh("cp -p /etc/caddy/Caddyfile /root/here/Caddyfile; echo 'import sites/*' >>/etc/caddy/Caddyfile")
	out, err := b.try("cd /root/here; ./ten install --domain example.com --caddy")
	if err == nil || !strings.Contains(out, "/etc/caddy/Caddyfile") {
		b.Errorf("ten install --caddy over a Caddyfile: got %s (%v), want a refusal that names it", out, err)
	}
	b.sh(`cd /root/here
printf '[settings]\ndata_dir = "/var/lib/tenement/data"\ndomain = "example.com"\n[service.notes]\ncommand = "/bin/true"\n' >/etc/tenement/tenement.toml
cp -p /root/here/Caddyfile /etc/caddy/Caddyfile
./ten install --domain example.com --caddy --dns-provider cloudflare
grep -F '*.notes.example.com' /etc/caddy/Caddyfile
./ten install --domain example.com --caddy
caddy validate --config /etc/caddy/Caddyfile --adapter caddyfile`)
	if got := b.listening(); got != "127.0.0.1:8080" {
		b.Errorf("behind Caddy: got it listening on %s, want 127.0.0.1:8080", got)
	}
	b.sh("cd /root/here; ./ten install --domain example.com; cmp Caddyfile /etc/caddy/Caddyfile; rm Caddyfile")
	if got := b.listening(); got != "*:443 *:80" {
		b.Errorf("without Caddy again: got it listening on %s, want *:443 *:80", got)
	}
	// Away, also when it is away already, and here again for the reader.
	b.quiet(b.sh("cd /root/here; ./ten uninstall; ./ten uninstall; ./ten install --domain example.com"))
}

// quiet says what nobody wants to read of an uninstallation.
func (b *box) quiet(out string) {
	b.Helper()
	for _, noise := range []string{"not found", "not loaded", "Failed to", "daemon-reload"} {
		if strings.Contains(out, noise) {
			b.Errorf("an uninstallation says %q:\n%s", noise, out)
		}
	}
}

// listening are the addresses on which the machine awaits clients.
func (b *box) listening() string {
	b.Helper()
	return b.sh("ss -Hltn | awk '{print $4}' | grep -E ':(80|443|8080)$' | sort | xargs")
}
