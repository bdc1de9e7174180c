package lifecycletest

import (
	"context"
	"maps"

	"tenement.dev/internal/tenant"
)

// SetSecret implements lifecycle.Controller.
func (s *Systemd) SetSecret(ctx context.Context, id tenant.ID, name string, value []byte) error {
	if err := s.enter(ctx, "setsecret"); err != nil {
		return err
	}
	if err := tenant.CheckSecret(name, value, false); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secrets[id] == nil {
		s.secrets[id] = map[string]string{}
	}
	s.secrets[id][name] = string(value)
	return nil
}

// RemoveSecrets implements lifecycle.Controller.
func (s *Systemd) RemoveSecrets(ctx context.Context, id tenant.ID, names ...string) error {
	if err := s.enter(ctx, "removesecrets"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if err := tenant.CheckSecretName(name); err != nil {
			return err
		}
		delete(s.secrets[id], name)
	}
	if len(names) == 0 {
		delete(s.secrets, id)
	}
	return nil
}

// Secrets are the secrets of an instance, or of a service where id has no name.
func (s *Systemd) Secrets(id tenant.ID) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.secrets[id])
}

// Given are the secrets that the instance's unit is loaded with, by name.
func (s *Systemd) Given(id tenant.ID) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	if u := s.units[id]; u != nil {
		for _, ref := range u.spec.Secrets {
			names = append(names, ref.Name)
		}
	}
	return names
}
