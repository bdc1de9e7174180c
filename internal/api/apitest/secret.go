package apitest

import (
	"context"
	"slices"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
)

// Secrets lists the secrets of an instance, or of a service.
func (m *Instances) Secrets(_ context.Context, id tenant.ID) ([]tenant.Secret, error) {
	if err := m.knows(id); err != nil {
		return nil, err
	}
	m.secretsMu.Lock()
	defer m.secretsMu.Unlock()
	list := slices.Clone(m.secrets[id])
	if id.Name != "" {
		list = append(list, m.secrets[tenant.ID{Service: id.Service}]...)
	}
	slices.SortFunc(list, func(a, b tenant.Secret) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// SetSecret sets one; env is as before if it is nil.
func (m *Instances) SetSecret(_ context.Context, id tenant.ID, name string, value []byte, env *bool) (tenant.Secret, int, error) {
	if err := m.knows(id); err != nil {
		return tenant.Secret{}, 0, err
	}
	m.secretsMu.Lock()
	i := slices.IndexFunc(m.secrets[id], func(s tenant.Secret) bool { return s.Name == name })
	inEnv := env == nil && i >= 0 && m.secrets[id][i].Env || env != nil && *env
	m.secretsMu.Unlock()
	if err := tenant.CheckSecret(name, value, inEnv); err != nil {
		return tenant.Secret{}, 0, err
	}
	s := tenant.Secret{Name: name, Env: inEnv, Changed: time.Now(), Service: id.Name == ""}
	m.dropSecret(id, name)
	m.secretsMu.Lock()
	defer m.secretsMu.Unlock()
	m.secrets[id] = append(m.secrets[id], s)
	return s, m.runningOf(id), nil
}

// RemoveSecret removes one.
func (m *Instances) RemoveSecret(_ context.Context, id tenant.ID, name string) (bool, int, error) {
	if err := m.knows(id); err != nil {
		return false, 0, err
	}
	return m.dropSecret(id, name), m.runningOf(id), nil
}

func (m *Instances) dropSecret(id tenant.ID, name string) bool {
	m.secretsMu.Lock()
	defer m.secretsMu.Unlock()
	had := len(m.secrets[id])
	m.secrets[id] = slices.DeleteFunc(m.secrets[id], func(s tenant.Secret) bool { return s.Name == name })
	return len(m.secrets[id]) < had
}

// knows reports whether there is such an instance, or service.
func (m *Instances) knows(id tenant.ID) error {
	if id.Name == "" {
		return m.CheckService(id.Service)
	}
	_, err := m.Get(id)
	return err
}

func (m *Instances) runningOf(id tenant.ID) int {
	n := 0
	for _, s := range m.List() {
		if (s.ID == id || id.Name == "" && s.ID.Service == id.Service) && (s.State == tenant.Awake || s.State == tenant.Dozing) {
			n++
		}
	}
	return n
}
