package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tenement.dev/internal/tenant"
)

// marks remembers which instances are armed, as files of a directory below /run: they
// are gone after a restart of the machine, as the instances' units are. It implements
// lifecycle.Marks.
type marks struct{ dir string }

// Set implements lifecycle.Marks.
func (m marks) Set(id tenant.ID, fingerprint string) error {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return fmt.Errorf("mark %s as armed: %w", id, err)
	}
	if err := os.WriteFile(filepath.Join(m.dir, id.String()), []byte(fingerprint), 0o600); err != nil {
		return fmt.Errorf("mark %s as armed: %w", id, err)
	}
	return nil
}

// Clear implements lifecycle.Marks.
func (m marks) Clear(id tenant.ID) error {
	if err := os.Remove(filepath.Join(m.dir, id.String())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Get implements lifecycle.Marks.
func (m marks) Get(id tenant.ID) (string, error) {
	text, err := os.ReadFile(filepath.Join(m.dir, id.String()))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}

// All implements lifecycle.Marks.
func (m marks) All() ([]tenant.ID, error) {
	entries, err := os.ReadDir(m.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []tenant.ID
	for _, entry := range entries {
		if id, err := tenant.ParseID(entry.Name()); err == nil {
			all = append(all, id)
		}
	}
	return all, nil
}
