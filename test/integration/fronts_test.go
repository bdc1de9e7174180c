package integration

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// TestBehindNginxAndHAProxy: with the configurations that docs/tls.md has, both pass on all that
// a browser and an app say, as it comes, also to an instance that sleeps.
func TestBehindNginxAndHAProxy(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: "[settings]\ntrusted_proxies = [\"127.0.0.1\", \"::1\"]\n" + app})
	s.Spawn("app:alice")
	ca := newAuthority(t)
	cert, key := ca.sign(t, 2, "alice.app.localhost")
	s.WriteFile("notes.crt", cert)
	s.WriteFile("notes.key", key)
	s.WriteFile("notes.pem", cert+key)
	for _, name := range []string{"nginx", "haproxy"} {
		t.Run(name, func(t *testing.T) { throughFront(t, s, startFront(t, s, name), ca.pool) })
	}
}

// startFront starts a proxy with the configuration that docs/tls.md has, before s, whose
// directory has a certificate. It gives its port.
func startFront(t *testing.T, s *harness.Server, name string) (port int) {
	t.Helper()
	repo, err := harness.Repository()
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := harness.Blocks(filepath.Join(repo, "docs", "tls.md"))
	if err != nil {
		t.Fatal(err)
	}
	guide := ""
	for _, b := range blocks {
		if b.Language == name {
			guide = b.Text
		}
	}
	if guide == "" {
		t.Fatal("the guide has no configuration of " + name)
	}
	argv, ready := []string{"haproxy", "-db", "-V", "-f"}, "polling mechanism"
	if name == "nginx" {
		guide = "pid DIR/nginx.pid;\nerror_log stderr notice;\ndaemon off;\nmaster_process off;\nevents {}\nhttp {\naccess_log off;\n" + guide + "\n}"
		argv, ready = []string{"nginx", "-c"}, "event method"
	}
	port = harness.FreePort(t)
	s.WriteFile(name+".conf", strings.NewReplacer("DIR", s.Dir, "listen 443", fmt.Sprintf("listen 127.0.0.1:%d", port), "bind :443", fmt.Sprintf("bind 127.0.0.1:%d", port),
		"notes.example.com", "app.localhost", "/etc/ssl", s.Dir, "127.0.0.1:8080", s.Addr()).Replace(guide+"\n"))
	run(t, ready, append(argv, filepath.Join(s.Dir, name+".conf"))...)
	eventually(t, name+" listens", func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return port
}

// throughFront makes requests of app:alice at a proxy in front.
func throughFront(t *testing.T, s *harness.Server, port int, roots *x509.CertPool) {
	client := browser(s, port, roots)
	at := fmt.Sprintf("https://alice.app.localhost:%d", port)
	do := func(method, path string, body io.Reader, header ...string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, at+path, body)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}

	ok(t, s, "stop", "app:alice")
	const size = 3 << 20
	resp := do("POST", "/upload", strings.NewReader(strings.Repeat("x", size)))
	if text, err := io.ReadAll(resp.Body); err != nil || resp.ProtoMajor != 2 || strings.TrimSpace(string(text)) != strconv.Itoa(size) {
		t.Errorf("an upload to one that sleeps: got %s %s %q, %v", resp.Proto, resp.Status, text, err)
	}
	if got := s.Get("app:alice").State; got != tenant.Awake {
		t.Errorf("it is %v", got)
	}
	var seen struct {
		Host, URI string
		Header    http.Header
	}
	resp = do("GET", "/a%2Fb//c?x;y=%26", nil, "X-Forwarded-For", "6.6.6.6", "X-Forwarded-Proto", "ftp")
	if err := json.NewDecoder(resp.Body).Decode(&seen); err != nil {
		t.Fatal(err)
	}
	if seen.URI != "/a%2Fb//c?x;y=%26" || "https://"+seen.Host != at || seen.Header.Get("X-Forwarded-For") != "127.0.0.1, 127.0.0.1" ||
		seen.Header.Get("X-Forwarded-Proto") != "https" || seen.Header.Get("X-Forwarded-Host") != seen.Host {
		t.Errorf("the app got %+v", seen)
	}

	// Events come one by one: all of these would take hours.
	resp = do("GET", "/events?n=10000&ms=1000", nil, "Accept", "text/event-stream")
	if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
		t.Errorf("the first event: %v", err)
	}

	conn, err := tls.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), &tls.Config{ServerName: "alice.app.localhost", RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(harness.Timeout))
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: alice.app.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	echoed := "\x81\x05hello"
	fmt.Fprint(conn, "\x81\x85\x00\x00\x00\x00hello")
	var got strings.Builder
	for buf := make([]byte, 1024); !strings.HasSuffix(got.String(), echoed); {
		n, err := conn.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			t.Fatalf("a WebSocket: got %q, %v", &got, err)
		}
	}
}
