package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"
)

// Pair names the PEM files of a certificate, with its chain, and of its key.
type Pair struct {
	Cert, Key string
}

// file is a certificate that was read from files.
type file struct {
	pair  Pair
	stamp [2]stamp
	cert  *tls.Certificate
}

// stamp tells one content of a file from the next.
type stamp struct {
	size int64
	at   time.Time
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.Size(), info.ModTime()}, nil
}

// read reads the files of a pair.
func read(pair Pair) (*file, error) {
	f := &file{pair: pair}
	for i, path := range []string{pair.Cert, pair.Key} {
		s, err := stampOf(path)
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		f.stamp[i] = s // before the content: a change in between is seen next time
	}
	cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s with key %s: %w", pair.Cert, pair.Key, err)
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return nil, fmt.Errorf("read certificate %s: %w", pair.Cert, err)
		}
	}
	f.cert = &cert
	return f, nil
}

// changed reports whether the files are others than those that were read.
func (f *file) changed() bool {
	for i, path := range []string{f.pair.Cert, f.pair.Key} {
		if s, err := stampOf(path); err != nil || s != f.stamp[i] {
			return true
		}
	}
	return false
}
