package lifecycle

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// secretTime bounds the change of a secret, which goes on when its caller leaves.
const secretTime = 30 * time.Second

// secretsOf are the secrets that an instance gets: its own, and those of its service that
// it has none of the same name for.
func (m *Manager) secretsOf(id tenant.ID) []tenant.SecretRef {
	var refs []tenant.SecretRef
	for _, s := range m.effectiveSecrets(id) {
		refs = append(refs, s.Ref())
	}
	return refs
}

func (m *Manager) effectiveSecrets(id tenant.ID) []tenant.Secret {
	all := *m.secrets.Load()
	list := slices.Clone(all[id])
	if id.Name != "" {
		for _, s := range all[tenant.ID{Service: id.Service}] {
			if !slices.ContainsFunc(list, func(own tenant.Secret) bool { return own.Name == s.Name }) {
				list = append(list, s)
			}
		}
	}
	slices.SortFunc(list, func(a, b tenant.Secret) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Secrets lists the secrets that an instance gets, or those of a service where id has no
// name.
func (m *Manager) Secrets(ctx context.Context, id tenant.ID) ([]tenant.Secret, error) {
	if err := m.knows(ctx, "list secrets", id); err != nil {
		return nil, err
	}
	return m.effectiveSecrets(id), nil
}

// SetSecret gives an instance a secret, or all instances of a service where id has no
// name. Those that run get it with their next start; running is how many do. Where env is nil
// a secret that is there stays in the environment, or out of it; a new one is out of it.
func (m *Manager) SetSecret(ctx context.Context, id tenant.ID, name string, value []byte, env *bool) (s tenant.Secret, running int, err error) {
	if err := tenant.CheckSecret(name, value, env != nil && *env); err != nil {
		return tenant.Secret{}, 0, err
	}
	if err := m.knows(ctx, "set secret", id); err != nil {
		return tenant.Secret{}, 0, err
	}
	s = tenant.Secret{Name: name, Env: env != nil && *env, Changed: time.Now().UTC().Truncate(time.Microsecond), Service: id.Name == ""}
	err = m.changeSecrets(ctx, id, func(ctx context.Context, list []tenant.Secret) ([]tenant.Secret, error) {
		if i := slices.IndexFunc(list, func(old tenant.Secret) bool { return old.Name == name }); i >= 0 {
			if env == nil {
				s.Env = list[i].Env
			}
			list = slices.Delete(list, i, i+1)
		}
		if err := tenant.CheckSecret(name, value, s.Env); err != nil {
			return nil, err
		}
		if len(list) >= tenant.MaxSecrets {
			return nil, &tenant.Error{
				Code: tenant.CodeLimit, Op: "set secret", ID: id,
				Msg: fmt.Sprintf("there are %d secrets, and that is the most", len(list)), Hint: "`ten secret rm` makes room",
			}
		}
		if err := m.controller.SetSecret(ctx, id, name, value); err != nil {
			return nil, err
		}
		return append(list, s), m.store.SetSecret(ctx, id, s)
	})
	if err != nil {
		return tenant.Secret{}, 0, err
	}
	m.tellOfOwner(ctx, event.SecretSet, id, slog.String("secret", name), slog.Bool("env", s.Env))
	return s, m.runningOf(id), nil
}

// RemoveSecret takes a secret away; was is false where there is none. Instances that run
// have it until they stop.
func (m *Manager) RemoveSecret(ctx context.Context, id tenant.ID, name string) (was bool, running int, err error) {
	if err := tenant.CheckSecretName(name); err != nil {
		return false, 0, err
	}
	// One of a service that the configuration has no longer can be removed, too.
	if err := m.knows(ctx, "remove secret", id); err != nil && len((*m.secrets.Load())[id]) == 0 {
		return false, 0, err
	}
	err = m.changeSecrets(ctx, id, func(ctx context.Context, list []tenant.Secret) ([]tenant.Secret, error) {
		rest := slices.DeleteFunc(list, func(s tenant.Secret) bool { return s.Name == name })
		was = len(rest) < len(list)
		if !was {
			return list, nil
		}
		// The registry first: nobody looks for the value of what is not in it.
		if err := m.store.RemoveSecret(ctx, id, name); err != nil {
			return nil, err
		}
		return rest, m.controller.RemoveSecrets(ctx, id, name)
	})
	if err != nil {
		return false, 0, err
	}
	if was {
		m.tellOfOwner(ctx, event.SecretRemoved, id, slog.String("secret", name))
	}
	return was, m.runningOf(id), nil
}

// changeSecrets replaces the secrets of an instance or a service by what change makes of a
// copy, unless it fails. One at a time: what is stored last is what counts here.
func (m *Manager) changeSecrets(ctx context.Context, id tenant.ID, change func(context.Context, []tenant.Secret) ([]tenant.Secret, error)) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), secretTime)
	defer cancel()
	m.hiding.Lock()
	defer m.hiding.Unlock()
	all := maps.Clone(*m.secrets.Load())
	list, err := change(ctx, slices.Clone(all[id]))
	if err != nil {
		return err
	}
	all[id] = list
	if len(list) == 0 {
		delete(all, id)
	}
	m.secrets.Store(&all)
	return nil
}

// forgetSecrets drops the secrets of an instance that is no more; the registry has dropped
// them with it.
func (m *Manager) forgetSecrets(id tenant.ID) {
	m.hiding.Lock()
	defer m.hiding.Unlock()
	all := maps.Clone(*m.secrets.Load())
	delete(all, id)
	m.secrets.Store(&all)
}

// runningOf is how many processes an instance has, or the instances of a service where id
// has no name.
func (m *Manager) runningOf(id tenant.ID) int {
	n := 0
	for _, inst := range m.all() {
		if (inst.id == id || id.Name == "" && inst.id.Service == id.Service) && inst.up() {
			n++
		}
	}
	return n
}
