package integration

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

// TestRestartBehindFronts restarts the daemon while proxies in front, and browsers before it, keep
// connections to it that they use every now and then: none is closed as a request comes.
func TestRestartBehindFronts(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.sign(t, 2, "alice.app.localhost")
	own := harness.FreePort(t)
	s := harness.New(t, harness.Options{
		Config: "[settings]\ntrusted_proxies = [\"127.0.0.1\"]\n[settings.tls]\ncert = \"notes.crt\"\nkey = \"notes.key\"\nredirect = false\n" + app, Unit: true,
		Files: map[string]string{"notes.crt": cert, "notes.key": key, "notes.pem": cert + key},
	})
	ten, err := harness.Bin("ten")
	if err != nil {
		t.Fatal(err)
	}
	dropIn(t, "tenement-test.socket", fmt.Sprintf("[Socket]\nListenStream=127.0.0.1:%d\n", own))
	dropIn(t, "tenement-test.service", fmt.Sprintf("[Service]\nExecStart=\nExecStart=%s serve --domain localhost --https-port %d\n", ten, own))
	s.Run()
	s.Spawn("app:alice")
	caddy := harness.FreePort(t)
	r := s.Ten("caddy", "--domain", "app.example.com", "--email", "ops@example.com", "--upstream", s.Addr())
	if r.Code != 0 {
		t.Fatal(r)
	}
	runCaddy(t, s, r.Stdout, caddy)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var answered atomic.Int64
	var visitors sync.WaitGroup
	for way, port := range map[string]int{"nginx": startFront(t, s, "nginx"), "HAProxy": startFront(t, s, "haproxy"), "Caddy": caddy, "HTTP/2": own} {
		for range 16 {
			visitors.Go(func() {
				client := browser(s, port, ca.pool)
				transport, ok := client.Transport.(*http.Transport)
				if !ok {
					t.Error("the client has no transport")
					return
				}
				transport.DisableKeepAlives = false
				transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // Caddy signs its own
				defer transport.CloseIdleConnections()
				for post := false; ctx.Err() == nil; post = !post {
					if err := visit(context.WithoutCancel(ctx), client, port, post); err != nil {
						t.Errorf("%s, POST %v: %v", way, post, err)
					}
					answered.Add(1)
					time.Sleep(rand.N(400 * time.Millisecond))
				}
			})
		}
	}
	for range 3 {
		before := answered.Load()
		eventually(t, "requests are answered", func() bool { return answered.Load() > before+100 })
		s.Unit("restart")
	}
	before := answered.Load()
	eventually(t, "requests are answered", func() bool { return answered.Load() > before+100 })
	stop()
	visitors.Wait()
}

// visit makes a request of app:alice that no client may make again by itself, if it is a POST that has been sent.
func visit(ctx context.Context, client *http.Client, port int, post bool) error {
	method, path, body := http.MethodGet, "/count", io.Reader(nil)
	if post {
		method, path, body = http.MethodPost, "/upload", io.MultiReader(strings.NewReader("0123456789"))
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+net.JoinHostPort("alice.app.localhost", strconv.Itoa(port))+path, body)
	if err != nil {
		return err
	}
	if post {
		req.ContentLength = 10
		// For what has never been sent, on a connection of HTTP/2 that has just ended. What has
		// been is not sent again (net/http, Transport).
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("0123456789")), nil }
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || post && string(text) != "10\n") {
		err = fmt.Errorf("got %s %q", resp.Status, text)
	}
	return err
}

// dropIn adds to a unit until the test ends.
func dropIn(t *testing.T, unit, text string) {
	t.Helper()
	dir := filepath.Join("/run/systemd/system", unit+".d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "test.conf"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
