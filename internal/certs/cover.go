package certs

import (
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// Covers reports whether there is a certificate for a host, or may be got.
func (s *Source) Covers(host string) bool {
	if s.acme != nil {
		return true
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, f := range s.files {
		if f.cert.Leaf.VerifyHostname(host) == nil {
			return true
		}
	}
	return false
}

// Expiring gives the file of the certificate that ends first, and when; "" where none is
// from a file.
func (s *Source) Expiring() (cert string, at time.Time) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, f := range s.files {
		if end := f.cert.Leaf.NotAfter; cert == "" || end.Before(at) {
			cert, at = f.pair.Cert, end
		}
	}
	return cert, at
}

// uncovered logs a handshake that fails for want of a certificate. For a host that is
// served here something is to be done.
func (s *Source) uncovered(hello *tls.ClientHelloInfo, host string) {
	client := ""
	if hello.Conn != nil {
		client, _, _ = net.SplitHostPort(hello.Conn.RemoteAddr().String())
	}
	if host != "" && s.known(host) {
		if missed, ok := s.missedOwn.now(time.Now()); ok {
			s.log.Warn("no certificate for a host that is served here", "host", host, "client", client, "left_out", missed)
		}
		return
	}
	if missed, ok := s.missedOther.now(time.Now()); ok {
		s.log.Info("TLS for a host that is not served here", "host", shorten(host), "client", client, "left_out", missed)
	}
}

// shorten cuts a name that a client has chosen.
func shorten(host string) string { return host[:min(len(host), 255)] }

// sayInterval is the shortest time between two lines of one kind.
const sayInterval = 10 * time.Second

// sometimes bounds how often something is said.
type sometimes struct {
	mu     sync.Mutex
	last   time.Time
	missed int
}

// now reports whether it may be said now, and how often it was not since the last time.
func (s *sometimes) now(at time.Time) (missed int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() && at.Sub(s.last) < sayInterval {
		s.missed++
		return 0, false
	}
	missed, s.missed, s.last = s.missed, 0, at
	return missed, true
}
