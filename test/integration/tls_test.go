package integration

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	pem  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool(), pem: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// sign gives a certificate for hosts and its key, as PEM.
func (a *authority) sign(t *testing.T, serial int64, hosts ...string) (cert, key string) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: hosts[0]}, DNSNames: hosts, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, own.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

// browser is a client of the TLS port, whatever the host name.
func browser(s *harness.Server, port int, roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout: harness.Timeout,
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots},
			ForceAttemptHTTP2: true,
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				var d net.Dialer
				_, to, _ := net.SplitHostPort(addr)
				if to == "443" {
					to = strconv.Itoa(port)
				}
				return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", to))
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func body(t *testing.T, client *http.Client, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return resp, string(text)
}

func runTLS(t *testing.T, s *harness.Server, port int, args ...string) {
	t.Helper()
	if err := s.TryRun(append([]string{"--https-port", strconv.Itoa(port)}, args...)...); err != nil {
		t.Fatalf("%v\n%s", err, s.Log)
	}
}

func TestTLSFromFiles(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.sign(t, 1, "*.app.localhost")
	s := harness.New(t, harness.Options{
		Config: "[settings]\napi_domain = true\n[settings.tls]\ncert = \"tls.crt\"\nkey = \"tls.key\"\nhsts = \"1h\"\n" + app,
		Files:  map[string]string{"tls.crt": cert, "tls.key": key},
	})
	port := harness.FreePort(t)
	runTLS(t, s, port)
	for _, host := range []string{"localhost", "app.localhost"} { // the dashboard's, and the service's own
		eventually(t, "the daemon says that nothing covers "+host, func() bool {
			return strings.Contains(s.Log.String(), `msg="no certificate covers a host that is served" host=`+host+" ")
		})
	}
	if r := s.Ten("doctor"); !strings.Contains(r.Stdout, "no certificate covers localhost, app.localhost") {
		t.Errorf("got %s, want doctor to say so", r)
	}
	s.Spawn("app:alice")
	ok(t, s, "stop", "app:alice")
	client := browser(s, port, ca.pool)

	// It wakes over TLS and HTTP/2, and the app knows.
	resp, text := body(t, client, "https://alice.app.localhost/")
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 || !strings.Contains(text, `"X-Forwarded-Proto":["https"]`) {
		t.Errorf("got %s %s, want 200 over HTTP/2, and the app told of https", resp.Status, text)
	}
	if got := resp.Header.Get("Strict-Transport-Security"); got != "max-age=3600" {
		t.Errorf("Strict-Transport-Security: got %q", got)
	}
	// Plain HTTP is sent there, method and body included.
	plain, err := s.Do(t.Context(), "POST", "app:alice", "/a%20b?c=d", "x")
	if want := fmt.Sprintf("https://alice.app.localhost:%d/a%%20b?c=d", port); err != nil || plain.Status != 308 || plain.Header.Get("Location") != want {
		t.Errorf("plain: got %d %q, %v, want 308 %q", plain.Status, plain.Header.Get("Location"), err, want)
	}
	// A WebSocket works over it.
	webSocketOver(t, port, ca.pool)

	// A new certificate is used without a restart.
	cert, key = ca.sign(t, 2, "*.app.localhost")
	s.WriteFile("tls.crt", cert)
	s.WriteFile("tls.key", key)
	deadline := time.Now().Add(harness.Timeout)
	for {
		resp, _ = body(t, client, "https://alice.app.localhost/health")
		if resp.TLS.PeerCertificates[0].SerialNumber.Int64() == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the new certificate is not used")
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// webSocketOver echoes a frame over TLS.
func webSocketOver(t *testing.T, port int, roots *x509.CertPool) {
	t.Helper()
	conn, err := tls.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), &tls.Config{ServerName: "alice.app.localhost", RootCAs: roots, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(harness.Timeout))
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: alice.app.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("upgrade over TLS: got %v, %v", resp, err)
	}
	frame := []byte{0x81, 0x82, 0, 0, 0, 0, 'h', 'i'}
	if _, err := conn.Write(frame); err != nil {
		t.Fatal(err)
	}
	echo := make([]byte, 4)
	if _, err := io.ReadFull(in, echo); err != nil || string(echo[2:]) != "hi" {
		t.Errorf("echo over TLS: got %q, %v", echo, err)
	}
}

// nameserver runs a DNS server for which every name is this machine's, and gives its
// address and the one of its control.
func nameserver(t *testing.T) (address, control string) {
	t.Helper()
	repo, err := harness.Repository()
	if err != nil {
		t.Fatal(err)
	}
	address, control = fmt.Sprintf("127.0.0.1:%d", harness.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", harness.FreePort(t))
	run(t, "Starting management", filepath.Join(repo, "bin/pebble-challtestsrv"), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "",
		"-doh", "", "-dnsserver", address, "-management", control)
	return address, control
}

// pebble runs an ACME server that asks the daemon's ports for its challenges, and gives
// the text of the daemon's [settings.tls] and the URL where the server's roots are.
func pebble(t *testing.T, dns string, httpPort, tlsPort int, validity time.Duration) (settings string, files map[string]string, roots string) {
	t.Helper()
	repo, err := harness.Repository()
	if err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t)
	cert, key := ca.sign(t, 7, "localhost")
	dir := t.TempDir()
	listen, manage := harness.FreePort(t), harness.FreePort(t)
	config := fmt.Sprintf(`{"pebble": {"listenAddress": "127.0.0.1:%d", "managementListenAddress": "127.0.0.1:%d",
		"certificate": %q, "privateKey": %q, "httpPort": %d, "tlsPort": %d, "keyAlgorithm": "ecdsa",
		"retryAfter": {"authz": 1, "order": 1}, "profiles": {"default": {"description": "d", "validityPeriod": %d}}}}`,
		listen, manage, filepath.Join(dir, "cert"), filepath.Join(dir, "key"), httpPort, tlsPort, int(validity.Seconds()))
	for name, text := range map[string]string{"cert": cert, "key": key, "config": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "ACME directory available", filepath.Join(repo, "bin/pebble"), "-config", filepath.Join(dir, "config"), "-dnsserver", dns)
	return fmt.Sprintf("[settings.tls]\nacme = true\nemail = \"ops@tenants.test\"\ndirectory = \"https://127.0.0.1:%d/dir\"\ndirectory_ca = \"acme.pem\"\n", listen),
		map[string]string{"acme.pem": ca.pem}, fmt.Sprintf("https://127.0.0.1:%d/roots/0", manage)
}

// run starts a program that the test ends, and waits for a word of it.
func run(t *testing.T, word string, argv ...string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0")
	out := &harness.Output{}
	ready := out.Watch(word)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(argv[0]), out)
		}
	})
	select {
	case <-ready:
	case <-time.After(harness.Timeout):
		t.Fatalf("%s did not start:\n%s", argv[0], out)
	}
}

// rootsAt gets what pebble signs with.
func rootsAt(t *testing.T, url string) *x509.CertPool {
	t.Helper()
	_, text := body(t, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}, url)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(text)) {
		t.Fatalf("no root in %q", text)
	}
	return pool
}

func TestCertificatesFromAnACMEServer(t *testing.T) {
	tlsPort := harness.FreePort(t)
	s := harness.New(t, harness.Options{Config: app})
	dns, _ := nameserver(t)
	settings, files, rootsURL := pebble(t, dns, s.Port, tlsPort, 15*time.Second)
	for name, text := range files {
		s.WriteFile(name, text)
	}
	s.WriteFile("tenement.toml", settings+app)
	runTLS(t, s, tlsPort, "--domain", "tenants.test")
	s.Spawn("app:alice", "app:bob")
	ok(t, s, "stop", "app:bob")

	client := browser(s, tlsPort, rootsAt(t, rootsURL))
	// The first handshake gets it.
	resp, text := body(t, client, "https://alice.app.tenants.test/")
	if resp.StatusCode != 200 || !strings.Contains(text, "alice.app.tenants.test") {
		t.Fatalf("got %s %s", resp.Status, text)
	}
	first := resp.TLS.PeerCertificates[0]

	// Names that nobody has get none, and nothing is woken or created to find out.
	for _, host := range []string{"zed.app.tenants.test", "a.b.c.tenants.test", "elsewhere.test"} {
		if _, err := client.Get("https://" + host + "/"); err == nil {
			t.Errorf("%s has a certificate", host)
		}
	}
	if strings.Contains(s.Log.String(), `"ordering a certificate" host=zed`) || len(s.List()) != 2 || s.Get("app:bob").State != tenant.Asleep {
		t.Errorf("names that nobody has left traces: %v\n%s", s.List(), s.Log)
	}

	// It is renewed before it ends (two thirds of 15 seconds), and outlasts a restart.
	deadline := time.Now().Add(harness.Timeout)
	for {
		resp, _ = body(t, client, "https://alice.app.tenants.test/health")
		if resp.TLS.PeerCertificates[0].SerialNumber.Cmp(first.SerialNumber) != 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the certificate was not renewed")
		}
		time.Sleep(100 * time.Millisecond)
	}
	renewed := resp.TLS.PeerCertificates[0]
	s.Signal(syscall.SIGTERM)
	runTLS(t, s, tlsPort, "--domain", "tenants.test")
	resp, _ = body(t, client, "https://alice.app.tenants.test/health")
	if resp.TLS.PeerCertificates[0].NotBefore.Before(renewed.NotBefore) {
		t.Errorf("after a restart: got a certificate of %v, want the one of %v or a later one", resp.TLS.PeerCertificates[0].NotBefore, renewed.NotBefore)
	}
}
