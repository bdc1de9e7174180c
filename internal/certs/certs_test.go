package certs

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// selfSigned writes a certificate for hosts and gives its files.
func selfSigned(t *testing.T, dir string, serial int64, hosts ...string) Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: hosts[0]}, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pair := Pair{filepath.Join(dir, hosts[0]+".crt"), filepath.Join(dir, hosts[0]+".key")}
	for path, block := range map[string]*pem.Block{
		pair.Cert: {Type: "CERTIFICATE", Bytes: der}, pair.Key: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pair
}

func newSource(t *testing.T, o Options) *Source {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "state")
	}
	o.Log = slog.New(slog.DiscardHandler)
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// handshake connects to s as a client that asks for host.
func handshake(t *testing.T, s *Source, host string, change ...func(*tls.Config)) (tls.ConnectionState, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var server sync.WaitGroup
	defer server.Wait()
	server.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		secure := tls.Server(conn, s.Config())
		if secure.Handshake() == nil {
			_, _ = secure.Write([]byte("x")) // session tickets come with it
		}
	})
	config := &tls.Config{ServerName: host, InsecureSkipVerify: true}
	for _, f := range change {
		f(config)
	}
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(t.Context()); err != nil {
		return tls.ConnectionState{}, err
	}
	_, err = secure.Read(make([]byte, 1))
	return secure.ConnectionState(), err
}

func serial(t *testing.T, s *Source, host string) int64 {
	t.Helper()
	state, err := handshake(t, s, host)
	if err != nil {
		return -1
	}
	return state.PeerCertificates[0].SerialNumber.Int64()
}

func TestFilesByHost(t *testing.T) {
	dir := t.TempDir()
	s := newSource(t, Options{Files: []Pair{
		selfSigned(t, dir, 1, "example.com", "*.notes.example.com"),
		selfSigned(t, dir, 2, "blog.example"),
	}})
	for host, want := range map[string]int64{
		"example.com": 1, "alice.notes.example.com": 1, "ALICE.notes.example.com.": 1, "blog.example": 2,
		"a.b.notes.example.com": -1, "notes.example.com": -1, "other": -1, "": 1,
	} {
		if got := serial(t, s, host); got != want {
			t.Errorf("%q: got certificate %d, want %d", host, got, want)
		}
	}
	if _, err := handshake(t, s, "blog.example", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }); err == nil {
		t.Error("TLS 1.1 was taken")
	}
	state, err := handshake(t, s, "blog.example", func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} })
	if err != nil || state.NegotiatedProtocol != "h2" {
		t.Errorf("got protocol %q, %v, want h2", state.NegotiatedProtocol, err)
	}
}

func TestFilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	s := newSource(t, Options{Files: []Pair{selfSigned(t, dir, 1, "example.com")}})
	pair := selfSigned(t, dir, 22, "example.com")
	s.refresh()
	if got := serial(t, s, "example.com"); got != 22 {
		t.Errorf("got certificate %d, want the new one", got)
	}
	// A broken one, as between two writes, leaves the last good one.
	if err := os.WriteFile(pair.Key, []byte("half a"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.refresh()
	if got := serial(t, s, "example.com"); got != 22 {
		t.Errorf("with a broken key: got certificate %d, want the last good one", got)
	}
	selfSigned(t, dir, 333, "example.com")
	s.refresh()
	if got := serial(t, s, "example.com"); got != 333 {
		t.Errorf("mended: got certificate %d, want the newest", got)
	}
}

func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	good, other := selfSigned(t, dir, 1, "a.example"), selfSigned(t, dir, 2, "b.example")
	for what, pair := range map[string]Pair{
		"missing": {filepath.Join(dir, "none"), good.Key}, "not its key": {good.Cert, other.Key}, "swapped": {good.Key, good.Cert},
	} {
		if _, err := New(Options{Files: []Pair{pair}, Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), pair.Cert) {
			t.Errorf("%s: got %v, want an error that names the file", what, err)
		}
	}
}

// A client can resume its session at the next daemon, and after the key was renewed.
func TestSessionsOutlastARestart(t *testing.T) {
	dir := t.TempDir()
	o := Options{Files: []Pair{selfSigned(t, dir, 1, "example.com")}, Dir: filepath.Join(dir, "state")}
	cache := tls.NewLRUClientSessionCache(1)
	resume := func(c *tls.Config) { c.ClientSessionCache = cache }
	if state, err := handshake(t, newSource(t, o), "example.com", resume); err != nil || state.DidResume {
		t.Fatalf("first: got resumed %t, %v", state.DidResume, err)
	}
	if state, err := handshake(t, newSource(t, o), "example.com", resume); err != nil || !state.DidResume {
		t.Errorf("after a restart: got resumed %t, %v, want it", state.DidResume, err)
	}
	tickets, err := openTickets(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if renewed, err := tickets.renew(time.Now().Add(ticketLife)); err != nil || !renewed {
		t.Fatalf("got renewed %t, %v, want it", renewed, err)
	}
	if state, err := handshake(t, newSource(t, o), "example.com", resume); err != nil || !state.DidResume {
		t.Errorf("after a new key: got resumed %t, %v, want it", state.DidResume, err)
	}
	info, err := os.Stat(filepath.Join(o.Dir, "tickets.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", info.Mode(), err)
	}
	if renewed, err := tickets.renew(time.Now().Add(10 * ticketLife)); err != nil || !renewed || len(tickets.keys()) != 1 {
		t.Errorf("long after: got %d keys, %v, want old ones gone", len(tickets.keys()), err)
	}
}

// A server that fails is asked once, and not again for each handshake.
func TestFailingACMEServer(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		http.Error(w, "down", http.StatusBadRequest)
	}))
	defer server.Close()
	dir := t.TempDir()
	root := filepath.Join(dir, "root.pem")
	if err := os.WriteFile(root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s, err := New(Options{
		Files: []Pair{selfSigned(t, dir, 1, "example.com")},
		ACME:  &ACME{Directory: server.URL, RootCA: root, PerHour: 10, PerDomain: 10},
		Known: func(host string) bool { return host == "alice.example" },
		Dir:   filepath.Join(dir, "state"),
		Log:   slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(host string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		l, r := net.Pipe()
		defer r.Close()
		go func() {
			_ = tls.Client(r, &tls.Config{ServerName: host, InsecureSkipVerify: true}).HandshakeContext(ctx)
		}()
		conn := tls.Server(l, s.Config())
		defer conn.Close()
		return conn.HandshakeContext(ctx)
	}
	for range 5 {
		if err := ask("bob.example"); err == nil {
			t.Error("a certificate for a host that is not known")
		}
	}
	if got := asked.Load(); got != 0 {
		t.Errorf("the server was asked %d times for a host that is not known, want never", got)
	}
	if err := ask("alice.example"); err == nil {
		t.Error("a certificate from nowhere")
	}
	first := asked.Load()
	for range 5 {
		if err := ask("alice.example"); err == nil || !strings.Contains(err.Error(), "not before") {
			t.Errorf("got %v, want the time of the next order", err)
		}
	}
	if got := asked.Load(); first == 0 || got != first {
		t.Errorf("the server was asked %d times, and %d at first", got, first)
	}
	if strings.Count(log.String(), "no certificate") != 1 {
		t.Errorf("got log %s, want one line of the failure", &log)
	}
	if got := serial(t, s, "example.com"); got != 1 {
		t.Errorf("got certificate %d for another host, want 1", got)
	}
	http.DefaultClient.CloseIdleConnections()
	s.acme.manager.Client.HTTPClient.CloseIdleConnections()
}

func TestBudget(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.json")
	b, err := openBudget(path, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	spend := func(host string, after time.Duration, want bool) {
		t.Helper()
		if err := b.spend(host, now.Add(after)); (err == nil) != want {
			t.Errorf("%s after %v: got %v, want it allowed: %t", host, after, err, want)
		}
	}
	spend("a.notes.example.com", 0, true)
	spend("b.notes.example.com", 0, true)
	spend("c.example.com", 0, false) // of the domain
	spend("a.example.co.uk", 0, true)
	spend("a.other.co.uk", 0, false) // of the hour
	if b, err = openBudget(path, 3, 2); err != nil {
		t.Fatal(err)
	}
	spend("a.other.co.uk", time.Minute, false) // it outlasts a restart
	spend("a.other.co.uk", time.Hour, true)
	spend("c.example.com", time.Hour, false)
	spend("c.example.com", week, true)
}
