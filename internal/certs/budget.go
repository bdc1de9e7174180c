package certs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"
)

// budget bounds how many certificates are ordered. It outlasts a restart.
type budget struct {
	path               string
	perHour, perDomain int

	mu     sync.Mutex
	orders []order
}

// order is one that was made in the last week.
type order struct {
	At     time.Time `json:"at"`
	Domain string    `json:"domain"`
}

// The time over which orders are counted: for all domains, and for each.
const (
	hour = time.Hour
	week = 7 * 24 * time.Hour
)

func openBudget(path string, perHour, perDomain int) (*budget, error) {
	b := &budget{path: path, perHour: perHour, perDomain: perDomain}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &b.orders)
	}
	if err != nil {
		return nil, fmt.Errorf("read the orders of certificates: %w", err)
	}
	return b, nil
}

// spend counts an order for host, or says why there must be none now.
func (b *budget) spend(host string, now time.Time) error {
	domain, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		domain = host // a name without a public suffix, as in a private network
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.orders[:0]
	ofHour, ofDomain := 0, 0
	for _, o := range b.orders {
		age := now.Sub(o.At)
		if age >= week {
			continue
		}
		kept = append(kept, o)
		if age < hour {
			ofHour++
		}
		if o.Domain == domain {
			ofDomain++
		}
	}
	b.orders = kept
	switch {
	case ofHour >= b.perHour:
		return fmt.Errorf("order a certificate for %q: %d were ordered within an hour already", host, ofHour)
	case ofDomain >= b.perDomain:
		return fmt.Errorf("order a certificate for %q: %d were ordered for %s within a week already", host, ofDomain, domain)
	}
	b.orders = append(b.orders, order{now, domain})
	text, err := json.Marshal(b.orders)
	if err != nil {
		return fmt.Errorf("order a certificate for %q: %w", host, err)
	}
	return write(b.path, text)
}

// write replaces a file as a whole; only its owner may read it.
func write(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}
