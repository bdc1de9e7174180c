package certs

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// ticketLife is how long a key makes new session tickets; those that it made are
	// taken for ticketKeys times as long.
	ticketLife = 24 * time.Hour
	ticketKeys = 3
)

// tickets are the keys of session tickets (RFC 5077), the newest first.
type tickets struct {
	path string
	mu   sync.Mutex
	list []ticketKey
}

type ticketKey struct {
	Made time.Time `json:"made"`
	Key  [32]byte  `json:"key"`
}

// openTickets reads the keys in dir, or makes the first one.
func openTickets(dir string) (*tickets, error) {
	t := &tickets{path: filepath.Join(dir, "tickets.json")}
	text, err := os.ReadFile(t.path)
	if err == nil {
		err = json.Unmarshal(text, &t.list)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the keys of session tickets: %w", err)
	}
	_, err = t.renew(time.Now())
	return t, err
}

// keys are what tls.Config.SetSessionTicketKeys takes.
func (t *tickets) keys() [][32]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := make([][32]byte, len(t.list))
	for i, k := range t.list {
		keys[i] = k.Key
	}
	return keys
}

// renew makes a new key where the newest is too old, and drops the oldest.
func (t *tickets) renew(now time.Time) (renewed bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) > 0 && now.Sub(t.list[0].Made) < ticketLife {
		return false, nil
	}
	fresh := ticketKey{Made: now}
	_, _ = rand.Read(fresh.Key[:]) // never fails (crypto/rand)
	list := append([]ticketKey{fresh}, t.list...)
	for len(list) > ticketKeys || now.Sub(list[len(list)-1].Made) > ticketKeys*ticketLife {
		list = list[:len(list)-1]
	}
	text, err := json.Marshal(list)
	if err != nil {
		return false, fmt.Errorf("renew the keys of session tickets: %w", err)
	}
	if err := write(t.path, text); err != nil {
		return false, err
	}
	t.list = list
	return true, nil
}
