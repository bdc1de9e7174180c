package conformance_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"tenement.dev/test/conformance"
	"tenement.dev/test/harness"
	"tenement.dev/test/rawapp"
)

// TestMain lets more tests go on at once than there are processors: some only wait.
func TestMain(m *testing.M) {
	flag.Parse()
	parallel := flag.Lookup("test.parallel").Value
	if n, err := strconv.Atoi(parallel.String()); err == nil {
		_ = parallel.Set(strconv.Itoa(n + 2))
	}
	os.Exit(harness.Main(m))
}

// services are an app of net/http's, apps that say what they are told, one that is impatient,
// and those that rest soon: one sleeps and one dozes, so that neither state passes, and one
// has far longer than there is between what it sends.
const services = `
[settings.tls]
cert = "tls.crt"
key = "tls.key"
redirect = false
[service.app]
command = "{bin}/testapp"
[service.raw]
command = "{bin}/testapp raw"
request_timeout = 20
[service.hasty]
command = "{bin}/testapp raw"
request_timeout = 1
[service.brief]
command = "{bin}/testapp"
idle_timeout = 2
[service.dozer]
command = "{bin}/testapp"
doze_timeout = "700ms"
[service.ticker]
command = "{bin}/testapp"
idle_timeout = 5
doze_timeout = 3
`

// server is a daemon with a TLS port too.
type server struct {
	*harness.Server
	tlsPort int
	roots   *x509.CertPool
}

// start runs the daemon for all tests of a group, which may run side by side.
func start(t *testing.T, spawn ...string) *server {
	t.Helper()
	cert, key, roots := selfSigned(t, "localhost", "*.app.localhost", "*.raw.localhost", "*.brief.localhost")
	s := &server{
		Server: harness.New(t, harness.Options{Config: services, Files: map[string]string{"tls.crt": cert, "tls.key": key}}),
		roots:  roots,
	}
	s.tlsPort = harness.FreePort(t)
	if err := s.TryRun("--https-port", strconv.Itoa(s.tlsPort)); err != nil {
		t.Fatalf("%v\n%s", err, s.Log)
	}
	s.Spawn(spawn...)
	return s
}

// dial gives a connection to the plain port.
func (s *server) dial() (net.Conn, error) { return net.Dial("tcp", s.Addr()) }

// dialTLS gives a connection to the TLS port, for the named protocol.
func (s *server) dialTLS(host, protocol string) (net.Conn, error) {
	return tls.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.tlsPort)),
		&tls.Config{ServerName: host, RootCAs: s.roots, NextProtos: []string{protocol}})
}

// front is the way to an instance of raw.
func (s *server) front(id string) conformance.Front {
	return conformance.Front{
		Dial:     s.dial,
		DialH2:   func() (net.Conn, error) { return s.dialTLS(harness.Host(id), "h2") },
		Host:     harness.Host(id),
		Received: rawapp.Records(filepath.Join(s.Dir, "data", filepath.FromSlash(id[:3]), id[4:])).Read,
	}
}

func selfSigned(t *testing.T, hosts ...string) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: hosts[0]}, DNSNames: hosts,
		IsCA: true, BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, own.Public(), own)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(cert))
	return cert, key, roots
}
