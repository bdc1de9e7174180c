package integration

import (
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// The Caddyfile of `ten caddy` is one that Caddy takes, and a real Caddy with it serves
// tenants over TLS.
func TestBehindCaddy(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: "[settings]\ntrusted_proxies = [\"127.0.0.1\", \"::1\"]\n" + app})
	s.Spawn("app:alice", "app:bob")
	ok(t, s, "stop", "app:bob")
	ok(t, s, "domain", "add", "app:bob", "notes.bob.example")

	r := s.Ten("caddy", "--domain", "app.example.com", "--email", "ops@example.com", "--upstream", s.Addr())
	if r.Code != 0 {
		t.Fatal(r)
	}
	s.WriteFile("Caddyfile", r.Stdout)
	path := filepath.Join(s.Dir, "Caddyfile")
	if out, err := exec.Command("caddy", "validate", "--config", path, "--adapter", "caddyfile").CombinedOutput(); err != nil {
		t.Fatalf("caddy validate: %v\n%s\n%s", err, out, r.Stdout)
	}
	if out, err := exec.Command("caddy", "fmt", "--diff", path).CombinedOutput(); err != nil {
		t.Errorf("caddy fmt: %v\n%s", err, out)
	}

	// The machine has no way to a real certificate authority: Caddy's own signs.
	port := harness.FreePort(t)
	settings := fmt.Sprintf("[settings]\ntrusted_proxies = [\"127.0.0.1\", \"::1\"]\npublic = \"https:%d\"\n", port)
	s.WriteFile("tenement.toml", settings+app)
	ok(t, s, "reload")
	for _, args := range [][]string{{"spawn", "app:alice"}, {"open", "--print", "app:alice"}} {
		if r := s.Ten(args...); !strings.Contains(r.Stdout, fmt.Sprintf("https://alice.app.localhost:%d\n", port)) {
			t.Errorf("%v: got %s, want the URL that Caddy serves", args, r)
		}
	}
	runCaddy(t, s, r.Stdout, port)
	client := browser(s, port, x509.NewCertPool())
	transport, isTransport := client.Transport.(*http.Transport)
	if !isTransport {
		t.Fatal("the client has no transport")
	}
	transport.TLSClientConfig.InsecureSkipVerify = true
	for host, id := range map[string]string{"alice.app.localhost": "app:alice", "notes.bob.example": "app:bob"} {
		resp, text := body(t, client, "https://"+host+"/")
		if resp.StatusCode != 200 || !strings.Contains(text, `"X-Forwarded-Proto":["https"]`) || !strings.Contains(text, `"Host":"`+host+`"`) {
			t.Errorf("%s: got %s %s", host, resp.Status, text)
		}
		if got := s.Get(id).State; got != tenant.Awake {
			t.Errorf("%s is %v", id, got)
		}
	}
	for _, host := range []string{"zed.app.localhost", "elsewhere.example"} {
		if resp, err := client.Get("https://" + host + "/"); err == nil {
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			t.Errorf("%s: got %s %s, want no certificate", host, resp.Status, text)
		}
	}
}

// runCaddy runs Caddy with a Caddyfile of `ten caddy`, but for its port and who signs.
func runCaddy(t *testing.T, s *harness.Server, text string, port int) {
	t.Helper()
	s.WriteFile("Caddyfile", strings.Replace(strings.Replace(text, "\temail ops@example.com\n",
		fmt.Sprintf("\tlocal_certs\n\tskip_install_trust\n\tadmin off\n\tstorage file_system %s\n\thttps_port %d\n\thttp_port %d\n", t.TempDir(), port, harness.FreePort(t)), 1),
		"https:// {", fmt.Sprintf("https://:%d {", port), 1))
	run(t, "serving initial configuration", "caddy", "run", "--config", filepath.Join(s.Dir, "Caddyfile"), "--adapter", "caddyfile")
}

func TestCaddyfileWithWildcards(t *testing.T) {
	s := harness.New(t, harness.Options{Config: app})
	r := s.Ten("caddy", "--domain", "Example.com.", "--dns-provider", "hetzner")
	for _, want := range []string{"app.example.com, *.app.example.com {\n", "\t\tdns hetzner {env.HETZNER_API_TOKEN}\n"} {
		if r.Code != 0 || !strings.Contains(r.Stdout, want) {
			t.Errorf("got %s, want %q in it", r, want)
		}
	}
	for _, args := range [][]string{{}, {"--domain", "x"}, {"--domain", "a.b", "--dns-provider", "x }"}, {"--domain", "a.b", "--upstream", "here"}, {"--domain", "a.b", "--email", "a b"}} {
		if r := s.Ten(append([]string{"caddy"}, args...)...); r.Code != 2 || r.Stdout != "" {
			t.Errorf("ten caddy %q: got %s, want exit code 2", args, r)
		}
	}
}
