package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// Directories of Let's Encrypt (letsencrypt.org/docs/acme-protocol-updates).
const (
	LetsEncrypt        = "https://acme-v02.api.letsencrypt.org/directory"
	LetsEncryptStaging = "https://acme-staging-v02.api.letsencrypt.org/directory"
)

// ACME is where certificates come from.
type ACME struct {
	// Directory is the server's URL; empty is LetsEncrypt.
	Directory string
	// RootCA is a PEM file with the certificate authority of the server's own
	// certificate; empty is the system's.
	RootCA string
	// Email is told of trouble with certificates; it may be empty.
	Email string
	// PerHour bounds the orders in an hour, PerDomain those in a week for the hosts below
	// one registered domain.
	PerHour, PerDomain int
}

// client gets certificates from an ACME server.
type client struct {
	manager *autocert.Manager
	log     *slog.Logger

	mu     sync.Mutex
	failed map[string]failure
}

// failure says how often orders for a host have failed in a row.
type failure struct {
	times int
	until time.Time // no order before
}

const (
	// requestTimeout bounds one request to the ACME server.
	requestTimeout = 30 * time.Second
	// firstPause is the pause after a failed order; it doubles up to longestPause.
	firstPause   = time.Minute
	longestPause = 6 * time.Hour
	// maxFailed bounds how many hosts' failures are remembered.
	maxFailed = 10_000
)

func newClient(o ACME, dir string, known func(string) bool, log *slog.Logger) (*client, error) {
	roots, err := rootCA(o.RootCA)
	if err != nil {
		return nil, err
	}
	budget, err := openBudget(filepath.Join(dir, "orders.json"), o.PerHour, o.PerDomain)
	if err != nil {
		return nil, err
	}
	directory := o.Directory
	if directory == "" {
		directory = LetsEncrypt
	}
	transport := &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
	c := &client{log: log, failed: map[string]failure{}}
	c.manager = &autocert.Manager{
		Prompt: autocert.AcceptTOS,
		Cache:  orders{autocert.DirCache(filepath.Join(dir, "acme")), budget, log}, // made with mode 0700
		Email:  o.Email,
		Client: &acme.Client{
			DirectoryURL: directory,
			UserAgent:    "tenement",
			HTTPClient:   &http.Client{Timeout: requestTimeout, Transport: transport},
		},
		HostPolicy: func(_ context.Context, host string) error {
			if !known(host) {
				return fmt.Errorf("%w: %.80q", errUnknown, host)
			}
			return nil
		},
	}
	return c, nil
}

// orders is a cache of certificates that asks the budget before it admits that it has
// none: autocert orders one then.
type orders struct {
	autocert.Cache
	budget *budget
	log    *slog.Logger
}

// legacyAccount is where an old autocert kept the account's key, and a new one looks too.
const legacyAccount = "acme_account.key"

// Get implements autocert.Cache. Keys of certificates are host names, with "+rsa" where
// the client takes no other; the other keys end in other words, but for legacyAccount.
func (o orders) Get(ctx context.Context, key string) ([]byte, error) {
	data, err := o.Cache.Get(ctx, key)
	host := strings.TrimSuffix(key, "+rsa")
	if !errors.Is(err, autocert.ErrCacheMiss) || strings.Contains(host, "+") || key == legacyAccount {
		return data, err
	}
	if err := o.budget.spend(host, time.Now()); err != nil {
		return nil, err
	}
	o.log.Info("ordering a certificate", "host", host)
	return nil, autocert.ErrCacheMiss
}

func rootCA(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the ACME server's authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the ACME server's authority: no certificate in %s", path)
	}
	return pool, nil
}

// certificate gives the host's certificate, from the cache or by an order, which takes
// seconds. Handshakes for one host share one order.
func (c *client) certificate(host string, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	past := c.failed[host]
	c.mu.Unlock()
	if now := time.Now(); now.Before(past.until) {
		return nil, fmt.Errorf("no certificate for %q: an order failed, the next one is not before %v", host, past.until.Format(time.RFC3339))
	}
	cert, err := c.manager.GetCertificate(hello)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.failed, host)
		return cert, nil
	}
	if !errors.Is(err, errUnknown) {
		if c.failed[host].until.After(time.Now()) {
			return nil, err // another handshake has noted it
		}
		past.times++
		pause := min(firstPause<<min(past.times-1, 16), longestPause)
		past.until = time.Now().Add(pause)
		if len(c.failed) >= maxFailed {
			clear(c.failed)
		}
		c.failed[host] = past
		c.log.Error("no certificate", "host", host, "next_try", past.until, "err", err)
	}
	return nil, err
}
