package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
)

// Options is what a Source needs.
type Options struct {
	// Files are certificates from files. The first one that is for a host is used, and
	// the very first one for clients that name no host.
	Files []Pair
	// ACME is nil where no certificates are to be got.
	ACME *ACME
	// Known reports whether a host, in lower case and without a trailing dot, is served
	// here. It must be quick; nil is for none.
	Known func(host string) bool
	// Dir is kept for certificates, budgets and session tickets; it is made with mode
	// 0700 if it is not there.
	Dir string
	Log *slog.Logger
}

// Source gives certificates. Make one with New; it keeps them fresh while Run runs.
type Source struct {
	log     *slog.Logger
	known   func(string) bool
	acme    *client // nil where there is none
	tickets *tickets
	config  *tls.Config

	mu    sync.RWMutex // guards files
	files []*file

	// missed bounds the lines for handshakes without a certificate: for hosts that are
	// served here, and for others.
	missedOwn, missedOther sometimes
}

// lookInterval is how often files are looked at for changes.
const lookInterval = 5 * time.Second

// errUnknown is for names that are not served here. Clients see an alert.
var errUnknown = errors.New("no certificate for this name")

// New reads the files and the keys of session tickets.
func New(o Options) (*Source, error) {
	s := &Source{log: o.Log, known: o.Known}
	if s.known == nil {
		s.known = func(string) bool { return false }
	}
	for _, pair := range o.Files {
		f, err := read(pair)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, f)
	}
	var err error
	if s.tickets, err = openTickets(o.Dir); err != nil {
		return nil, err
	}
	if o.ACME != nil {
		if s.acme, err = newClient(*o.ACME, o.Dir, o.Known, o.Log); err != nil {
			return nil, err
		}
	}
	s.config = &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: s.certificate,
	}
	if s.acme != nil {
		s.config.NextProtos = append(s.config.NextProtos, acme.ALPNProto)
	}
	s.config.SetSessionTicketKeys(s.tickets.keys())
	return s, nil
}

// Config is for TLS servers; it is one and the same each time.
func (s *Source) Config() *tls.Config { return s.config }

// HTTP answers the ACME server's HTTP-01 challenges (RFC 8555, section 8.3), and
// leaves everything else to next.
func (s *Source) HTTP(next http.Handler) http.Handler {
	if s.acme == nil {
		return next
	}
	return s.acme.manager.HTTPHandler(next)
}

// Run reads files again that have changed and renews the keys of session tickets, until
// ctx ends.
func (s *Source) Run(ctx context.Context) error {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s.refresh()
		renewed, err := s.tickets.renew(time.Now())
		if err != nil {
			s.log.Error("session ticket keys not renewed", "err", err)
		}
		if renewed {
			s.config.SetSessionTicketKeys(s.tickets.keys())
		}
	}
}

// refresh reads files again that have changed. What cannot be read keeps its last good
// state: the two files of a pair are not replaced in one moment.
func (s *Source) refresh() {
	s.mu.RLock()
	files := s.files
	s.mu.RUnlock()
	fresh := make([]*file, len(files))
	changed := false
	for i, f := range files {
		fresh[i] = f
		if !f.changed() {
			continue
		}
		read, err := read(f.pair)
		if err != nil {
			s.log.Warn("certificate not read again", "cert", f.pair.Cert, "err", err)
			continue
		}
		fresh[i], changed = read, true
		s.log.Info("certificate read again", "cert", f.pair.Cert, "not_after", read.cert.Leaf.NotAfter)
	}
	if changed {
		s.mu.Lock()
		s.files = fresh
		s.mu.Unlock()
	}
}

// certificate implements tls.Config.GetCertificate.
func (s *Source) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.acme != nil && challenge(hello) {
		return s.acme.manager.GetCertificate(hello)
	}
	host := strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
	s.mu.RLock()
	files := s.files
	s.mu.RUnlock()
	for _, f := range files {
		if host == "" || f.cert.Leaf.VerifyHostname(host) == nil {
			return f.cert, nil
		}
	}
	if host == "" || s.acme == nil || !s.known(host) {
		s.uncovered(hello, host)
		return nil, fmt.Errorf("%w: %.80q", errUnknown, host)
	}
	return s.acme.certificate(host, hello)
}

// challenge reports whether it is the ACME server that looks at a TLS-ALPN-01 challenge
// (RFC 8737, section 3).
func challenge(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto
}
